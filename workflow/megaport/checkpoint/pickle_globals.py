"""Which names a pickle may mention. Nothing is ever imported, whatever the answer.

The whole standard library is forbidden but for its data classes, and so are torch and NumPy but
for theirs; the packages of Megatron, DeepSpeed and their forks are inert.
"""

import re

from megaport.checkpoint.pickle_errors import damaged, forbidden
from megaport.checkpoint.pickle_names import (
    DANGEROUS_NAMES,
    DANGEROUS_PACKAGES,
    NUMPY_DATA,
    RENAMED,
    STANDARD_DATA,
    STANDARD_LIBRARY,
    TORCH_CALLS,
)
from megaport.checkpoint.records import Reference

_CLASS = re.compile(r"_*[A-Z]\w*\Z", re.ASCII)
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\Z", re.ASCII)
_LONGEST = 300


def refer(where: str, module: object, name: object) -> Reference:
    """The inert reference that a pickle's `module` and `name` give.

    `ForbiddenGlobalError` when they name code, `BadPickleError` when they are not text.
    """
    if not isinstance(module, str) or not isinstance(name, str):
        raise damaged(where, "a class whose module or name is not text", "module and name as text")
    if len(module) + len(name) > _LONGEST or not _NAME.match(module) or not _NAME.match(name):
        raise forbidden(where, f"{module[:80]}.{name[:80]}")
    module = _canonical(module)
    if not _harmless(module, name):
        raise forbidden(where, f"{module}.{name}")
    return Reference(f"{module}.{name}")


def may_be_called(reference: Reference) -> bool:
    """False for torch functions that are not constructors of data: those may only be mentioned."""
    root, _, _ = reference.name.partition(".")
    last = reference.name.rpartition(".")[2]
    return root != "torch" or reference.name in TORCH_CALLS or _CLASS.match(last) is not None


def _canonical(module: str) -> str:
    for old, new in RENAMED.items():
        if module == old or module.startswith(f"{old}."):
            return new + module[len(old) :]
    return module


def _harmless(module: str, name: str) -> bool:
    root, path = module.partition(".")[0], f"{module}.{name}"
    if root in STANDARD_LIBRARY:
        return path in STANDARD_DATA
    if root == "numpy":
        return path in NUMPY_DATA or (_has_data_classes(module) and _is_class(name))
    if root in DANGEROUS_PACKAGES or DANGEROUS_NAMES.intersection(name.split(".")):
        return False
    # A dotted name reaches into a module's or a class's attributes; nested classes do so too.
    return "." not in name or all(map(_is_class, name.split(".")))


def _has_data_classes(module: str) -> bool:
    """NumPy's dtype classes and random generators, whose states Megatron may save."""
    return module == "numpy.dtypes" or module.startswith("numpy.random.")


def _is_class(name: str) -> bool:
    return _CLASS.match(name) is not None
