"""What every test shares: where the oracles are, and why they may be missing."""

from importlib.util import find_spec

from support import mounts, users
from support.oracles import ORACLES, oracle_cases


def pytest_report_header() -> list[str]:
    return [
        _oracles(),
        _megatron_core(),
        *([] if mounts.can_mount() else [mounts.WHY_NOT]),
        *([] if users.can_be_another() else [users.WHY_NOT]),
    ]


def _megatron_core() -> str:
    if find_spec("megatron"):
        return "megatron-core: installed; it writes a checkpoint in this run"
    return (
        "megatron-core: not installed; tests/checkpoint/test_megatron_core.py is not collected. "
        "`pip install megatron-core` to run it."
    )


def _oracles() -> str:
    count = len(oracle_cases())
    if count:
        return f"oracles: {count} checkpoints written by real Megatron code"
    return (
        f"oracles: none under {ORACLES}; tests against real Megatron files are not collected. "
        "Set MEGAPORT_ORACLES to a folder that holds them."
    )
