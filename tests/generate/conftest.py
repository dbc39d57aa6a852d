"""One tiny model for all of these tests, on one thread."""

from importlib.util import find_spec

from support.tiny_gpt2 import one_thread, tiny

__all__ = ["one_thread", "tiny"]

if not find_spec("triton"):
    collect_ignore = ["test_kernels.py", "test_fused.py"]
