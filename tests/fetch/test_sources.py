"""Local sources are used where they lie; what is no source is said so."""

from pathlib import Path

import pytest

from fetch.conftest import QUICK
from megaport.errors import MegaportError
from megaport.fetch.download import FetchError, download
from support import misbehaviours as bad


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a checkpoint ü.zip"
    path.write_bytes(b"PK")
    return path


def found(sources, folder, **options):
    return download(sources, folder, limits=QUICK, **options)


def test_a_path_or_a_url_of_a_file_is_that_file(file, folder, monkeypatch):
    monkeypatch.setenv("HOME", str(file.parent))
    starts = ("file://", "file://localhost", "FILE://LocalHost")
    urls = [file.as_uri().replace("file://", start) for start in starts]
    for source in (str(file), f"~/{file.name}", *urls):
        assert found([source], folder) == file
    assert not folder.exists()


def test_a_relative_path(file, folder, monkeypatch):
    monkeypatch.chdir(file.parent)
    assert found([file.name], folder) == Path(file.name)


def test_a_folder(tmp_path, folder):
    assert found([tmp_path.as_uri()], folder) == tmp_path


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("/nowhere/at/all.zip", "no such file or folder"),
        ("file:///nowhere/at/all.zip", "no such file or folder"),
        ("file://elsewhere/a.zip", "a file on another host, elsewhere"),
        ("s3://bucket/a.zip", "the scheme s3:// is not supported"),
        ("file:///a%00b", "no such file or folder"),
        ("/" + "a" * 300, "cannot be reached: File name too long"),
        ("~nobody-known/a.zip", "home folder of nobody"),
        ("http://", "not valid HTTP"),
        ("http://[bad/", "not valid HTTP"),
        ("http://a..b/", "host name is not known|not valid HTTP"),
        ("http://" + "a" * 300 + "/", "not valid HTTP"),
        ("http://127.0.0.1:99999/", "not valid HTTP"),
    ],
)
def test_no_source(folder, source, reason):
    with pytest.raises(FetchError, match=reason) as failure:
        found([source], folder)
    assert source in str(failure.value)


def test_no_sources_at_all(folder):
    with pytest.raises(FetchError, match="no usable source among 0"):
        found([], folder)


def test_a_local_file_after_a_url_that_is_gone(server, file, folder):
    server.will(bad.status(410))
    assert found([server.url(), str(file)], folder) == file


def test_a_local_file_that_is_refused_is_left_alone(file, folder):
    def refuse(path):
        raise MegaportError("bytes", seen="others", expected="these", remedy="Look again.")

    with pytest.raises(FetchError, match="found others; expected these"):
        found([str(file)], folder, check=refuse)
    assert file.read_bytes() == b"PK"


def test_a_source_named_twice_is_tried_once(server, folder):
    server.will_always(bad.status(404))
    with pytest.raises(FetchError) as failure:
        found([server.url(), server.url()], folder)
    assert len(failure.value.reasons) == len(server.requests) == 1
