"""What every test shares: where the oracles are, and why they may be missing."""

from support.oracles import ORACLES, oracle_cases


def pytest_report_header() -> str:
    count = len(oracle_cases())
    if count:
        return f"oracles: {count} checkpoints written by real Megatron code"
    return (
        f"oracles: none under {ORACLES}; tests against real Megatron checkpoints are not collected. "
        "Set MEGAPORT_ORACLES to a folder that holds them."
    )
