"""What a build cost, as run/ says it: under a clock and a kernel of the test's own."""

from types import SimpleNamespace

import pytest

from megaport.store import cost


@pytest.fixture
def meter(monkeypatch):
    """A meter started at noon that is read 2.00014 seconds later, on the host `alpha`."""
    monkeypatch.setattr(cost.time, "time", lambda: 1_700_000_000.0)
    monkeypatch.setattr(cost.time, "perf_counter", iter([10.0, 12.00014]).__next__)
    monkeypatch.setattr(cost.os, "uname", lambda: SimpleNamespace(nodename="alpha"))
    usage = {cost.resource.RUSAGE_SELF: SimpleNamespace(ru_maxrss=3)}
    monkeypatch.setattr(cost.resource, "getrusage", usage.__getitem__)
    return cost.Meter()


def test_a_meter_tells_time_memory_moment_and_host(meter):
    assert meter.read() == {
        "wall_seconds": 2.0001,
        "peak_rss_bytes": 3072,
        "started": "2023-11-14T22:13:20Z",
        "host": "alpha",
    }


@pytest.mark.parametrize(("hit", "said"), [(True, "cache hit"), (False, "computed")])
def test_run_says_what_the_build_cost_and_whether_this_was_it(tmp_path, hit, said):
    path = tmp_path / "new" / "run" / "convert.json"
    for _ in range(2):  # the folder may be there already
        cost.write_cost(path, {"wall_seconds": 1.5, "host": "alpha"}, hit=hit)
    built = ' "built": {\n  "host": "alpha",\n  "wall_seconds": 1.5\n },\n'
    assert path.read_text() == f'{{\n{built} "this_run": "{said}"\n}}\n'
