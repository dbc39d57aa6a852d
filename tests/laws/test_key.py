"""Row "NGC_API_KEY in logs, receipts, report, error text: never", for whole runs.

A server that has NGC's name and gives back the key wherever it can; then everything a run leaves.
"""

import hashlib
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from support import misbehaviours as bad
from support.checkout import PRETENDING, ROOT, SHORT, SIZES, ZIP, Ran, configured, snakemake
from support.misbehaving_server import (
    MIRROR,
    NGC,
    Behaviour,
    MisbehavingServer,
    authorizations,
    serving,
    well_behaved,
)

KEY = "nvapi-Abc123Def456"  # it may be a host's name as well
QUICK = {
    "download": {"retries": 1},
    "generate": {"prompts": [{}], "max_length": 3},
    "benchmark": SHORT,
    "parity": {"dtypes": []},
}
ATTACKS: list[Behaviour] = [
    bad.status(401, X_Key=KEY),
    bad.redirect(f"http://{KEY}.example/{KEY}"),
    bad.redirect(f"x{KEY}://{MIRROR}/{KEY}"),
    bad.body(KEY.encode(), ETag=f'"{KEY}"', Set_Cookie=f"key={KEY}"),
    bad.cut_after(10_000),
    bad.status(503, Retry_After=KEY),
]


@pytest.fixture
def ngc(tmp_path: Path) -> Iterator[MisbehavingServer]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(NGC).configure_cert(context)
    with serving((ROOT / ZIP).read_bytes(), context) as running:
        yield running


def run(folder: Path, server: MisbehavingServer, target: str, urls: list[str]) -> Ran:
    model = {
        "checkpoint": {"urls": [server.url(NGC, url) for url in urls]},
        "architecture": SIZES,
    }
    settings = QUICK | {"model": "far", "models": {"far": model}}
    environment = {
        "NGC_API_KEY": KEY,
        "NO_PROXY": "*",
        "REQUESTS_CA_BUNDLE": str(folder.parent / "ca.pem"),
        "PYTHONPATH": str(PRETENDING),
        "PRETEND": "loopback",
    }
    return snakemake(folder, target, *configured(folder, settings), **environment)


@pytest.mark.slow
def test_ngc_api_key_in_logs_receipts_report_and_error_text_never(built, tmp_path, ngc):
    ngc.will(*ATTACKS)
    ngc.will_always(bad.status(403))
    failed = run(built, ngc, "download", [f"/{number}" for number in range(len(ATTACKS) - 1)])
    assert failed.status != 0 and "/4: " in failed.text and "Traceback" not in failed.text
    ngc.will_always(well_behaved)
    passed = run(built, ngc, "report", ["/checkpoint.zip"])
    assert passed.status == 0 and (built / "results" / "report.html").exists(), passed.text
    downloaded = hashlib.sha256((ROOT / ZIP).read_bytes()).hexdigest()
    assert downloaded in (built / "results/far/download.json").read_text()
    assert set(authorizations(ngc)) == {f"Bearer {KEY}"}
    (tmp_path / "said").write_text(failed.text + passed.text)
    left = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
    assert {".html", ".log", ".json"} <= {path.suffix for path in left}
    for form in (KEY, KEY.lower()):
        assert [path for path in left if form.encode() in path.read_bytes()] == []
        assert [path for path in left if form in path.name] == []
