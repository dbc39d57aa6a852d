"""What a build cost, as run/ says it: under a clock and a kernel of the test's own."""

from types import SimpleNamespace

import pytest

from megaport.store import job


def test_building_costs_time_and_memory_at_a_moment_on_a_host(monkeypatch):
    """Begun at noon, read 2.00014 seconds later, on the host `alpha`."""
    monkeypatch.setattr(job.time, "perf_counter", lambda: 12.00014)
    monkeypatch.setattr(job.os, "uname", lambda: SimpleNamespace(nodename="alpha"))
    usage = {job.resource.RUSAGE_SELF: SimpleNamespace(ru_maxrss=3)}
    monkeypatch.setattr(job.resource, "getrusage", usage.__getitem__)
    assert job.cost_since(1_700_000_000.0, 10.0) == {
        "wall_seconds": 2.0001,
        "peak_rss_bytes": 3072,
        "started": "2023-11-14T22:13:20Z",
        "host": "alpha",
    }


@pytest.mark.parametrize(("hit", "said"), [(True, "cache hit"), (False, "computed")])
def test_run_says_what_the_build_cost_and_whether_this_was_it(tmp_path, hit, said):
    path = tmp_path / "new" / "run" / "convert.json"
    for _ in range(2):  # the folder may be there already
        job.write_cost(path, {"wall_seconds": 1.5, "host": "alpha"}, hit=hit)
    built = ' "built": {\n  "host": "alpha",\n  "wall_seconds": 1.5\n },\n'
    assert path.read_text() == f'{{\n{built} "this_run": "{said}"\n}}\n'
