"""Tests that sign with model-signing itself are collected only where it is installed."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("model_signing") else ["test_model_signing.py"]
