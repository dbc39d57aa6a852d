"""Bounds on what a pickle built: keys that hash quickly, no cycles, bounded depth and size."""

from typing import Any

from megaport.checkpoint.records import Record, damaged, too_large
from megaport.errors import shown_text
from megaport.tensors import Tensor

MOST_DEPTH = 100
# A tree may share its parts, but whoever walks it meets them wherever they appear. Written out in
# full, with the path of every leaf, it may have this many characters for each byte of its pickle.
# Real ones need up to 12: class names in the .metadata of distributed checkpoints.
_SPELT_PER_BYTE = 64
_SPELT_FREE = 1 << 20
_PLAIN = 8  # characters of a number, None or a tensor

_Path = list[tuple[Any, list[Any]]]  # containers from the root down, each with parts to visit
_Size = tuple[int, int]  # leaves, and characters when written out
_KEYS = frozenset({int, float, bool, str, bytes, type(None)})
_SCALARS = _KEYS | {Tensor}


def check_key(where: str, key: Any) -> int:
    """Refuse keys whose hashing could be slow; the number of tuples in the key (0 as a rule)."""
    # Within 60 bits an int is its own hash; larger ones can be chosen to collide.
    if type(key) is int and key.bit_length() > 60:
        raise damaged(where, "a huge integer as a key", "a key of at most 60 bits")
    if type(key) in _KEYS or isinstance(key, Record):
        return 0
    if type(key) is tuple and len(key) <= 64:
        for part in key:
            if type(part) is tuple:
                raise damaged(where, "a tuple within a tuple as a key", "plain keys")
            check_key(where, part)
        return 1
    raise damaged(where, f"a key that is {shown_text(key)}", "text or a number as a key")


def check_tree(where: str, root: Any, read: int) -> None:
    """Refuse trees deeper, or larger when written out, than any checkpoint has, and cycles.

    `read` is the number of bytes of the pickle. A cycle through a Record is let be: Records are
    leaves to whoever walks the tree.
    """
    allowed = _SPELT_FREE + _SPELT_PER_BYTE * read
    sizes: dict[int, _Size] = {}  # of each finished container
    path: _Path = []
    on_path: dict[int, int] = {}
    _enter(where, root, path, on_path)
    while path:
        node, children = path[-1]
        if children:
            child = children.pop()
            if id(child) in on_path:
                _check_cycle(where, path[on_path[id(child)] :])
            elif id(child) not in sizes:
                _enter(where, child, path, on_path)
            continue
        path.pop()
        del on_path[id(node)]
        sizes[id(node)] = size = _size_of(node, sizes)
        if size[1] > allowed:
            seen = f"over {allowed} characters of names and values by repetition of shared parts"
            raise too_large(where, seen, "a plain tree")


def _enter(where: str, node: Any, path: _Path, on_path: dict[int, int]) -> None:
    if type(node) in _SCALARS:
        return
    if len(path) >= MOST_DEPTH:
        raise too_large(where, f"values nested over {MOST_DEPTH} deep", "shallow data")
    parts = _parts(node)
    if parts:
        on_path[id(node)] = len(path)
        path.append((node, [part for part in parts if type(part) not in _SCALARS]))


def _parts(node: Any) -> list[Any]:
    if type(node) is dict:
        return [*node.keys(), *node.values()]
    if type(node) is list or type(node) is tuple:
        return list(node)
    return [part for part in (node.args, node.state, node.contents) if part]  # a Record's


def _size_of(node: Any, sizes: dict[int, _Size]) -> _Size:
    """A dict's keys are spelt once for every leaf below them, as paths are."""
    leaves, spelt = 0, len(node.name) if isinstance(node, Record) else _PLAIN
    if type(node) is dict:
        for key, value in node.items():
            below, text = _size(value, sizes)
            leaves, spelt = leaves + below, spelt + text + below * _size(key, sizes)[1]
    else:
        for part in _parts(node):
            below, text = _size(part, sizes)
            leaves, spelt = leaves + below, spelt + text
    return leaves, spelt


def _size(node: Any, sizes: dict[int, _Size]) -> _Size:
    if type(node) is str or type(node) is bytes:
        return 1, _PLAIN + len(node)
    if id(node) in sizes:
        return sizes[id(node)]
    return 1, len(node.name) if isinstance(node, Record) else _PLAIN


def _check_cycle(where: str, cycle: _Path) -> None:
    if not any(isinstance(node, Record) for node, _ in cycle):
        raise damaged(where, "a container that contains itself", "a tree")
