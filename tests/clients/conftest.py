"""Collected where the clients are installed: `make test-clients` makes such an environment."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("peft") else ["test_clients.py"]
