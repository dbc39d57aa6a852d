"""The content digest, its enforcement, and trust on first use: recorded, then enforced."""

import errno
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from megaport.fetch.trust import DigestError, Trust, TrustError, content_digest

A, B = (hashlib.sha256(held).hexdigest() for held in (b"a", b"b"))
KEY = "models.m.checkpoint.sha256"
URLS = ("https://one.example/a.zip", "https://two.example/a.zip")


def test_one_file_is_known_by_its_own_digest_whatever_its_name():
    assert content_digest({"release/mp_rank_00/model_optim_rng.pt": A}) == A
    assert content_digest({"model.pt": A}) == A


def test_several_files_are_known_by_the_sorted_list_that_sha256sum_would_print():
    expected = hashlib.sha256("".join(sorted([f"{A}  x\n", f"{B}  y\n"])).encode()).hexdigest()
    assert content_digest({"x": A, "y": B}) == content_digest({"y": B, "x": A}) == expected


@pytest.fixture
def trust(tmp_path):
    return Trust(tmp_path, "m", URLS)


def test_the_first_use_is_recorded_and_enforced(trust):
    assert trust.read() is None
    assert trust.verify(A, None, KEY) == "first use"
    assert trust.verify(A, None, KEY) == "trusted"
    with pytest.raises(DigestError) as failure:
        trust.verify(B, None, KEY)
    for part in (A, B, f"set {KEY}: {B}"):
        assert part in str(failure.value)


def test_a_pin_is_enforced_and_neither_reads_nor_writes_the_record(trust):
    assert trust.verify(A, A, KEY) == "pinned"
    assert not trust.path.exists()
    trust.record(A)
    assert trust.verify(B, B, KEY) == "pinned"
    assert trust.read() == A
    with pytest.raises(DigestError) as failure:
        trust.verify(A, B, KEY)
    for part in (A, B, KEY, "-R download"):
        assert part in str(failure.value)


@pytest.fixture(params=["working", "missing"])
def links(request, monkeypatch):
    """Hard links of the store's file system."""
    if request.param == "missing":
        monkeypatch.setattr(os, "link", no_links)
    return request.param


def no_links(*_):
    raise OSError(errno.EPERM, "Operation not permitted")


def test_the_first_writer_wins(trust, links):
    assert trust.record(A) == A
    assert trust.record(B) == A


def test_many_first_writers_agree(trust, links):
    digests = [hashlib.sha256(bytes([number])).hexdigest() for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        said = set(pool.map(trust.record, digests))
    assert trust.read() in digests
    assert links == "missing" or said == {trust.read()}
    assert [path.name for path in trust.path.parent.iterdir()] == [trust.path.name]


def test_a_lost_race_is_enforced(trust, monkeypatch):
    """Two first uses at once with different bytes: one of them must fail."""
    monkeypatch.setattr(trust, "record", lambda digest: B)
    with pytest.raises(DigestError):
        trust.verify(A, None, KEY)


def test_the_record_is_for_a_model_and_its_sources_in_any_order(tmp_path):
    one = Trust(tmp_path, "m", URLS)
    assert one.path == Trust(tmp_path, "m", URLS[::-1]).path
    assert one.path != Trust(tmp_path, "n", URLS).path
    assert one.path != Trust(tmp_path, "m", URLS[:1]).path


def test_the_record_holds_no_secret_and_nothing_that_changes(tmp_path):
    trust = Trust(tmp_path, "m", ["https://me:pass@one.example/a.zip?token=t"])
    trust.record(A)
    assert json.loads(trust.path.read_text()) == {
        "model": "m",
        "sources": ["https://one.example/a.zip?token=***"],
        "sha256": A,
    }


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"sha256": 1}', b'{"sha256": "abc"}', b"\xff\xfe"]
)
def test_a_damaged_record_is_no_first_use(trust, content):
    trust.record(A)
    trust.path.write_bytes(content)
    with pytest.raises(TrustError, match="trust record") as failure:
        trust.verify(A, None, KEY)
    assert str(trust.path) in str(failure.value)
    assert "delete the record" in str(failure.value)


def test_an_unreadable_record(trust):
    trust.path.mkdir(parents=True)
    with pytest.raises(TrustError, match="IsADirectoryError"):
        trust.read()


def test_a_store_that_takes_nothing(trust):
    trust.path.parent.write_text("a file where the folder should be")
    with pytest.raises(TrustError, match="a store that takes it"):
        trust.record(A)
