"""block.cpp compiled for this very processor: at first use, into a cache that may be deleted."""

import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from megaport.generate.hardware import cpu_model

SOURCES = [Path(__file__).with_name(name) for name in ("block.cpp", "product.cpp")]
COMPILE = ("-O3", "-march=native", "-fopenmp", "-fno-exceptions", "-fPIC", "-c")
# Without its OpenMP: it takes torch's, whose threads are there already; two would fight.
LINK = ("-shared", "-nostdlib", "-lm")
PRODUCTS = {torch.float32: "product_float32", torch.bfloat16: "product_bfloat16"}
BLOCKS = {torch.float32: "block_float32", torch.bfloat16: "block_bfloat16"}
SECONDS = 60


class NativeError(Exception):
    """It cannot be compiled or loaded here; the message says why."""


def compiler() -> str | None:
    """The path of a C++ compiler, where there is one."""
    return next(filter(None, map(shutil.which, ("g++", "clang++"))), None)


@functools.cache
def library() -> ctypes.CDLL:
    """What was compiled. Raises NativeError where there is no compiler, or none that can."""
    if not (found := compiler()):
        raise NativeError("no g++ or clang++")
    path = _cache() / f"block-{_digest(found)}.so"
    try:
        ctypes.CDLL(_openmp(), mode=ctypes.RTLD_GLOBAL)
        if not path.is_file():
            _compile(found, path)
        return ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError) as error:
        raise NativeError(f"{type(error).__name__}: {error}") from error


def product(weight: Tensor, bias: Tensor | None, x: Tensor, residual: Tensor | None) -> Tensor:
    """x [..., in] times weight [out, in], plus bias and residual; all contiguous, of one dtype."""
    x = x.contiguous()
    outs, size = weight.shape
    out = x.new_empty(*x.shape[:-1], outs)
    function = getattr(library(), PRODUCTS[weight.dtype])
    given = (weight, x, bias, residual if residual is None else residual.contiguous(), out)
    function(
        *(ctypes.c_void_p(None if tensor is None else tensor.data_ptr()) for tensor in given),
        *map(ctypes.c_int64, (x.numel() // size, size, outs)),
        ctypes.c_int(torch.get_num_threads()),
    )
    return out


def _compile(compiler: str, path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made, linked = Path(folder) / "block.o", Path(folder) / "block.so"
        for command in (
            [*COMPILE, SOURCES[0], "-o", made],
            [*LINK[:2], made, *LINK[2:], "-o", linked],
        ):
            given = [compiler, *map(str, command)]
            subprocess.run(given, check=True, capture_output=True, timeout=SECONDS)
        linked.replace(path)


def _digest(compiler: str) -> str:
    what = [
        *(source.read_text() for source in SOURCES),
        *COMPILE,
        *LINK,
        cpu_model(),
        str(Path(compiler).resolve()),
    ]
    return hashlib.sha256("\0".join(what).encode()).hexdigest()[:16]


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "megaport"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise NativeError(f"no cache folder: {error}") from error
    return folder


def _openmp() -> str:
    """The OpenMP library that this process has loaded with torch. Raises OSError without one."""
    maps = Path("/proc/self/maps").read_text()
    found = re.search(r"(/\S*lib(?:gomp|iomp5|omp)[^/\s]*\.so\S*)", maps)
    if not found:
        raise OSError("torch has loaded no OpenMP library")
    return found.group(1)
