"""Tests marked `slow` are the whole of what the default run samples; `-m slow` asks for them."""

import pytest


def deselect_slow(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take the slow tests out of `items` unless a marker expression was given."""
    if config.option.markexpr:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    items[:] = [item for item in items if item not in slow]
    config.hook.pytest_deselected(items=slow)
