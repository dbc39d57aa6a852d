"""How a peer says that it cannot run here; the benchmark reports it as a row."""

from megaport.generate.engines.base import EngineError, Job


def refusal(engine: str, seen: str) -> EngineError:
    return EngineError(
        f"engine {engine}",
        seen=seen,
        expected="a peer that is installed and runs this model here",
        remedy="Install it, or leave it out of `benchmark.engines`.",
    )


def require_greedy(engine: str, job: Job) -> None:
    """Peers are measured greedily and to full length, so that all do the same work."""
    if not job.sampling.greedy or job.stop is not None:
        raise refusal(engine, "a job that samples or stops")
