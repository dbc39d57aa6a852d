"""Tiny models run on one thread: handing them to two costs more than they compute."""

import os

from support.tiny_gpt2 import one_thread

__all__ = ["one_thread"]

# The old converter needs an environment of its own: see build_old_environment.py.
collect_ignore = [] if "MEGAPORT_OLD_TRANSFORMERS" in os.environ else ["test_old_script.py"]
