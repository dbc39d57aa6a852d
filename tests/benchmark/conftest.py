"""One tiny model for all of these tests, on one thread; the peers' tests where one is installed."""

from importlib.util import find_spec

from support.tiny_gpt2 import one_thread, tiny

__all__ = ["one_thread", "tiny"]

if not find_spec("llama_cpp"):
    collect_ignore = ["test_installed_peers.py"]
