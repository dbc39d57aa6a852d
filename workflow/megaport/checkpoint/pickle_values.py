"""What "calling" a name in a pickle gives: plain data, a tensor view, or an inert Record."""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from megaport.checkpoint.names import may_be_called
from megaport.checkpoint.records import Name, Record, Unreadable, damaged, forbidden
from megaport.checkpoint.storages import (
    Storage,
    rebuild_npu_tensor,
    rebuild_tensor,
    rebuild_tensor_v3,
)
from megaport.errors import shown_text
from megaport.tensors import Tensor

if TYPE_CHECKING:
    from megaport.checkpoint.pickle_machine import Machine

Constructor = Callable[["Machine", tuple[Any, ...]], Any]


def call(machine: "Machine", target: Any, args: Any) -> Any:
    """The value of `target(*args)` without calling anything.

    Data constructors of Python, NumPy and torch give their data, every other class a `Record`.
    `ForbiddenGlobalError` when the target is a function that is not a known constructor of data.
    """
    if not isinstance(target, Name):
        raise damaged(machine.where, f"a call of {shown_text(target)}", "a call of a class")
    if not isinstance(args, tuple):
        raise damaged(machine.where, f"a call with {shown_text(args)}", "a call with a tuple")
    constructor = _CONSTRUCTORS.get(target.name)
    if constructor is not None:
        return constructor(machine, args)
    if not may_be_called(target):
        raise forbidden(machine.where, target.name)
    return _unknown(target, args)


def _dict(machine: "Machine", args: tuple[Any, ...]) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    for pair in _elements(machine, args):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise damaged(
                machine.where, f"a dict made of {shown_text(pair)}", "key and value pairs"
            )
        machine.set_key(result, pair[0], pair[1])
    return result


def _list(machine: "Machine", args: tuple[Any, ...]) -> list[Any]:
    """Sets too: in the file's order, because a Python set's order differs from run to run."""
    return list(_elements(machine, args))


def _tuple(machine: "Machine", args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_elements(machine, args))


def _elements(machine: "Machine", args: tuple[Any, ...]) -> Sequence[Any]:
    source = args[0] if args else ()
    if isinstance(source, dict):
        source = list(source.items())
    if not isinstance(source, list | tuple):
        raise damaged(machine.where, f"a container made of {shown_text(source)}", "a list or tuple")
    machine.charge(len(source))
    return source


def _empty_dict(machine: "Machine", args: tuple[Any, ...]) -> dict[Any, Any]:
    return {}


def _bytes(machine: "Machine", args: tuple[Any, ...]) -> bytes:
    """`bytes(b"..")`, `bytearray(text, "latin-1")`, `_codecs.encode(text, "latin1")`."""
    source = args[0] if args else b""
    if not isinstance(source, str | bytes):
        raise damaged(machine.where, f"bytes made of {shown_text(source)}", "text or bytes")
    machine.charge(len(source))
    if isinstance(source, bytes):
        return source
    encoding = args[1] if len(args) > 1 else None
    if not isinstance(encoding, str) or encoding.lower() not in _ENCODINGS:
        raise damaged(machine.where, "text to bytes by an unusual encoding", "latin1")
    try:
        return source.encode(encoding)
    except UnicodeEncodeError:
        raise damaged(machine.where, "text that its encoding has no bytes for", "latin1") from None


def _path(machine: "Machine", args: tuple[Any, ...]) -> str:
    """A pathlib path, as the text it was made from."""
    if not all(isinstance(part, str) for part in args):
        raise damaged(machine.where, "a path that is not made of text", "path parts")
    machine.charge(sum(1 + len(part) for part in args))
    return "/".join(args).replace("//", "/", 1) if args else "."


def _scalar(machine: "Machine", args: tuple[Any, ...]) -> Any:
    """`numpy.core.multiarray.scalar(dtype, bytes)`: a Python number; other kinds stay inert."""
    if len(args) == 2 and isinstance(args[0], Record) and isinstance(args[1], bytes):
        code = args[0].args[0] if args[0].args else None
        state = args[0].state
        big = isinstance(state, tuple) and len(state) > 1 and state[1] == ">"
        if isinstance(code, str) and re.fullmatch(r"[fiu][248]|[iub]1", code) and not big:
            dtype = np.dtype("?" if code == "b1" else f"<{code}")
            if dtype.itemsize == len(args[1]):
                return np.frombuffer(args[1], dtype)[0].item()
    return Record("numpy.core.multiarray.scalar", args)


def _new_object(machine: "Machine", args: tuple[Any, ...]) -> Any:
    """`copyreg.__newobj__(cls, *args)`: what the NEWOBJ opcode does."""
    machine.charge(len(args))
    return call(machine, args[0] if args else None, args[1:])


def _reconstructor(machine: "Machine", args: tuple[Any, ...]) -> Any:
    """`copyreg._reconstructor(cls, base, state)`: an empty object of a Python 2 class."""
    return call(machine, args[0] if args else None, ())


def _array(machine: "Machine", args: tuple[Any, ...]) -> Record:
    """`numpy.core.multiarray._reconstruct(ndarray, (0,), b"b")`; BUILD brings what it holds."""
    return Record("numpy.ndarray")


def _of_storage(rebuild: Callable[[str, tuple[Any, ...]], Any]) -> Constructor:
    return lambda machine, args: rebuild(machine.where, args)


def _parameter(machine: "Machine", args: tuple[Any, ...]) -> Any:
    """A Parameter is its tensor."""
    if not args or not isinstance(args[0], Tensor | Unreadable):
        raise damaged(machine.where, "a parameter without a tensor", "a tensor")
    return args[0]


def _from_type(machine: "Machine", args: tuple[Any, ...]) -> Any:
    """`torch._tensor._rebuild_from_type_v2(function, type, args, state)`: a tensor with attributes.

    Plain tensors and parameters are views; any other subclass (FP8, DTensor) is unreadable, because
    its bytes need not be its values.
    """
    if len(args) < 3 or not all(isinstance(part, Name) for part in args[:2]):
        raise damaged(machine.where, "a tensor made of no known function", "a rebuild function")
    if args[1].name in _PLAIN_TENSORS and args[0].name in _REBUILDS:
        return call(machine, args[0], args[2])
    return Unreadable(args[1].name, args, reason=f"values of a {args[1].name}")


def _unknown(target: Name, args: tuple[Any, ...]) -> Record:
    """An object nobody knows; one that is made from a tensor or its bytes may be a weight."""
    weighty = any(isinstance(part, Tensor | Unreadable | Storage) for part in args)
    if weighty or target.name.startswith("torch._utils._rebuild_"):
        return Unreadable(target.name, args, reason=f"what only {target.name} can read")
    return Record(target.name, args)


_ENCODINGS = frozenset({"latin1", "latin-1", "ascii", "utf8", "utf-8"})
_PLAIN_TENSORS = frozenset({"torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter"})
_REBUILDS: dict[str, Constructor] = {
    "torch._utils._rebuild_tensor": _of_storage(rebuild_tensor),
    "torch._utils._rebuild_tensor_v2": _of_storage(rebuild_tensor),
    "torch._utils._rebuild_tensor_v3": _of_storage(rebuild_tensor_v3),
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch_npu.utils.storage._rebuild_npu_tensor": _of_storage(rebuild_npu_tensor),
}
_CONSTRUCTORS: dict[str, Constructor] = {
    **_REBUILDS,
    "torch._tensor._rebuild_from_type": _from_type,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch.Size": _tuple,
    "collections.OrderedDict": _dict,
    "collections.Counter": _dict,
    "collections.defaultdict": _empty_dict,
    "collections.deque": _list,
    "builtins.dict": _dict,
    "builtins.list": _list,
    "builtins.set": _list,
    "builtins.frozenset": _list,
    "builtins.tuple": _tuple,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "_codecs.encode": _bytes,
    "copyreg._reconstructor": _reconstructor,
    "copyreg.__newobj__": _new_object,
    "numpy.core.multiarray._reconstruct": _array,
    "numpy.core.multiarray.scalar": _scalar,
    **dict.fromkeys(
        [f"pathlib.{kind}" for kind in ("Path", "PosixPath", "PurePath", "PurePosixPath")], _path
    ),
}
