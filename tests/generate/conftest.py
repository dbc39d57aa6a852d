"""One tiny model for all of these tests, on one thread."""

from support.tiny_gpt2 import one_thread, tiny

__all__ = ["one_thread", "tiny"]
