"""A remote store: a colleague's conversion is a hit here, verified on arrival; down is no harm."""

import logging
import sys
from pathlib import Path

import pytest
import s3fs
from fsspec.core import url_to_fs
from moto.server import ThreadedMotoServer

from megaport.store.actions import Result
from megaport.store.content import Content
from megaport.store.job import run_job
from megaport.store.remote import Remote
from megaport.store.store import Store
from megaport.store.upkeep import verify
from support.stores import OUTPUTS, compute, job_in, never, state


@pytest.fixture(scope="module")
def s3():
    """moto's S3 server on loopback, reached as AWS users reach theirs: through the environment."""
    import boto3

    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("NO_PROXY", "127.0.0.1")
        client = boto3.client("s3")
        client.create_bucket(Bucket="team")
        yield client
    server.stop()


class Bucket:
    """What lies under a URL in S3, as an administrator sees it."""

    def __init__(self, client, name: str) -> None:
        self.client, self.name = client, name
        self.url = f"s3://team/{name}"

    def sizes(self) -> dict[str, int]:
        found = self.client.list_objects_v2(Bucket="team", Prefix=f"{self.name}/")
        objects = found.get("Contents", [])
        return {item["Key"].removeprefix(f"{self.name}/"): item["Size"] for item in objects}

    def put(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket="team", Key=f"{self.name}/{key}", Body=body)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket="team", Key=f"{self.name}/{key}")


class Folder:
    """The same of a folder."""

    def __init__(self, path: Path) -> None:
        self.path, self.url = path, f"file://{path}"

    def sizes(self) -> dict[str, int]:
        files = (path for path in self.path.rglob("*") if path.is_file())
        return {path.relative_to(self.path).as_posix(): path.stat().st_size for path in files}

    def put(self, key: str, body: bytes) -> None:
        (self.path / key).write_bytes(body)

    def delete(self, key: str) -> None:
        (self.path / key).unlink()


@pytest.fixture(params=["s3", "file"])
def far(request, tmp_path):
    if request.param == "file":
        return Folder(tmp_path / "far")
    return Bucket(request.getfixturevalue("s3"), tmp_path.name)


def person(tmp_path, name, url, *, upload=True, parameters=None):
    (tmp_path / name).mkdir(exist_ok=True)
    store = Store(tmp_path / name / "store", (), Remote(url, upload=upload))
    return job_in(tmp_path / name, store, parameters)


def warnings(caplog) -> list[str]:
    """Ours; the server in this process logs as well."""
    records = (record for record in caplog.records if record.levelname == "WARNING")
    return [record.getMessage() for record in records if record.name == "megaport"]


def test_a_colleagues_result_is_my_hit(tmp_path, far):
    run_job(person(tmp_path, "colleague", far.url), compute)
    mine = person(tmp_path, "me", far.url + "/", upload=False)
    run_job(mine, never)
    assert state(tmp_path / "me") == state(tmp_path / "colleague")
    assert verify(mine.store).clean and len(list(mine.store.blobs)) == len(OUTPUTS)
    run_job(job_in(tmp_path / "me"), never)  # also without the remote


def test_what_arrives_is_hashed_once_as_it_comes(tmp_path, far, monkeypatch):
    run_job(person(tmp_path, "colleague", far.url), compute)
    monkeypatch.setattr("megaport.store.content.sha256_file", lambda path: pytest.fail("again"))
    run_job(person(tmp_path, "me", far.url, upload=False), never)


def test_of_a_colleagues_result_only_what_i_lack_is_fetched(tmp_path, far, monkeypatch):
    run_job(person(tmp_path, "colleague", far.url), compute)
    mine = person(tmp_path, "me", far.url, upload=False)
    run_job(person(tmp_path, "me", far.url, upload=False, parameters={"another": "key"}), compute)
    monkeypatch.setattr(Remote, "download", lambda *_: pytest.fail("fetched"))
    run_job(mine, never)


def test_the_remote_holds_blobs_by_digest_and_the_action(tmp_path, far):
    job = person(tmp_path, "me", far.url)
    run_job(job, compute)
    digests = {path.name: path.stat().st_size for path in job.store.blobs}
    there = far.sizes()
    assert there.pop(f"actions/{job.action.key}") > 0
    assert there == {f"sha256/{d[:2]}/{d}": size for d, size in digests.items()}


def test_what_is_there_is_not_sent_again(tmp_path, far, monkeypatch):
    run_job(person(tmp_path, "me", far.url), compute)
    files = type(url_to_fs(far.url)[0])
    sent = []
    monkeypatch.setattr(files, "put_file", lambda self, here, there: sent.append(here))
    again = person(tmp_path, "again", far.url, parameters={"another": "key"})
    run_job(again, compute)
    assert f"actions/{again.action.key}" in far.sizes() and sent == []


def test_nothing_is_uploaded_unless_asked(tmp_path, far):
    run_job(person(tmp_path, "me", far.url, upload=False), compute)
    assert far.sizes() == {}


@pytest.mark.parametrize("harm", ["rotted", "truncated", "gone"])
def test_a_blob_that_is_wrong_there_is_noticed_on_arrival_and_mended(tmp_path, far, harm, caplog):
    run_job(person(tmp_path, "colleague", far.url), compute)
    (key, size), *_ = [item for item in far.sizes().items() if "sha256" in item[0]]
    if harm == "gone":
        far.delete(key)
    else:
        far.put(key, b"X" * (size - (harm == "truncated")))
    mine = person(tmp_path, "me", far.url)
    run_job(mine, compute)
    digest = key.rpartition("/")[2]
    [warning] = warnings(caplog)
    if harm == "gone":
        assert warning.endswith(" when fetching a blob; the work is done here")
    else:
        assert warning == f"warning: {far.url}: blob {digest} is damaged there"
    assert verify(mine.store).clean
    run_job(person(tmp_path, "third", far.url), never)


def test_a_damaged_or_hostile_action_is_a_miss(tmp_path, far):
    run_job(person(tmp_path, "colleague", far.url), compute)
    mine = person(tmp_path, "me", far.url, upload=False)
    hostile = Result({"../../outside": Content("a" * 64, 1)}).to_bytes()
    for entry in (b"", b"{", hostile):
        far.put(f"actions/{mine.action.key}", entry)
        assert mine.store.fetch(mine.action.key) is None
    run_job(mine, compute)
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize(
    "url",
    ["s3://team/down", "s3://no-such-bucket/x", "nosuchprotocol://x/y"],
    ids=["s3 down", "s3 without the bucket", "no backend"],
)
def test_a_remote_that_is_down_is_a_warning_and_the_work_is_done(
    tmp_path, request, url, caplog, monkeypatch
):
    if url.startswith("s3"):
        request.getfixturevalue("s3")
    if url.endswith("down"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody listens
        s3fs.S3FileSystem.clear_instance_cache()
    mine = person(tmp_path, "me", url)
    with caplog.at_level(logging.WARNING, "megaport"):
        run_job(mine, compute)
    assert state(tmp_path / "me")
    [warning] = warnings(caplog)
    assert warning.startswith(f"warning: remote store {url}: ")
    assert warning.endswith(" when looking for an action; the work is done here")
    assert ("nosuchprotocol" in warning.partition(url)[2]) == url.startswith("nosuchprotocol")


def test_a_remote_that_takes_nothing_is_a_warning(tmp_path, caplog):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "sha256").touch()  # where a folder should be
    url = f"file://{tmp_path}/far"
    run_job(person(tmp_path, "me", url), compute)
    [warning] = warnings(caplog)
    assert warning.startswith(f"warning: remote store {url}: ")
    assert warning.endswith(" when uploading a result; the work is done here")


def test_without_a_remote_nothing_of_it_is_imported(tmp_path, monkeypatch):
    for name in ("fsspec", "s3fs"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it now raises ImportError
    run_job(job_in(tmp_path), compute)
