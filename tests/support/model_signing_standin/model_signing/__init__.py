"""Stands in for model-signing where that is not installed: the same calls, not its format."""
