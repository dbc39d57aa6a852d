"""A remote store: a colleague's conversion is a hit here, verified on arrival; down is no harm."""

import logging
import sys

import pytest
import s3fs
from moto.server import ThreadedMotoServer

from megaport.store.actions import Result
from megaport.store.blobs import Content
from megaport.store.remote import Remote
from megaport.store.step import run_step
from megaport.store.store import Store
from megaport.store.verify import verify
from support.small_step import OUTPUTS, compute, never, state, step_in


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


@pytest.fixture(params=["s3", "file"])
def url(request, tmp_path):
    if request.param == "file":
        return f"file://{tmp_path}/far"
    request.getfixturevalue("s3")
    return f"s3://team/{tmp_path.name}"


def person(tmp_path, name, url, *, upload=True):
    (tmp_path / name).mkdir(exist_ok=True)
    return step_in(
        tmp_path / name, Store(tmp_path / name / "store", (), Remote(url, upload=upload))
    )


def objects(s3, prefix):
    found = s3.list_objects_v2(Bucket="team", Prefix=f"{prefix}/").get("Contents", [])
    return {item["Key"].removeprefix(f"{prefix}/"): item["Size"] for item in found}


def test_a_colleagues_result_is_my_hit(tmp_path, url):
    run_step(person(tmp_path, "colleague", url), compute)
    mine = person(tmp_path, "me", url, upload=False)
    run_step(mine, never)
    assert state(tmp_path / "me") == state(tmp_path / "colleague")
    assert verify(mine.store).clean and len(list(mine.store.blobs)) == len(OUTPUTS)


def test_what_arrived_stays_without_the_remote(tmp_path, url):
    run_step(person(tmp_path, "colleague", url), compute)
    run_step(person(tmp_path, "me", url), never)
    run_step(step_in(tmp_path / "me"), never)


def test_the_remote_holds_blobs_by_digest_and_the_action(tmp_path, s3):
    step = person(tmp_path, "me", f"s3://team/{tmp_path.name}")
    run_step(step, compute)
    digests = {path.name: path.stat().st_size for path in step.store.blobs}
    there = objects(s3, tmp_path.name)
    assert there.pop(f"actions/{step.action.key}") > 0
    assert there == {f"sha256/{d[:2]}/{d}": size for d, size in digests.items()}


def test_nothing_is_uploaded_unless_asked(tmp_path, s3):
    run_step(person(tmp_path, "me", f"s3://team/{tmp_path.name}", upload=False), compute)
    assert objects(s3, tmp_path.name) == {}


@pytest.mark.parametrize("harm", ["rotted", "truncated", "gone"])
def test_a_blob_that_is_wrong_there_is_noticed_on_arrival_and_mended(tmp_path, s3, harm, caplog):
    url = f"s3://team/{tmp_path.name}"
    run_step(person(tmp_path, "colleague", url), compute)
    (key, size), *_ = [item for item in objects(s3, tmp_path.name).items() if "sha256" in item[0]]
    path = f"{tmp_path.name}/{key}"
    if harm == "gone":
        s3.delete_object(Bucket="team", Key=path)
    else:
        s3.put_object(Bucket="team", Key=path, Body=b"X" * (size - (harm == "truncated")))
    mine = person(tmp_path, "me", url)
    run_step(mine, compute)
    assert "warning" in caplog.text
    assert verify(mine.store).clean
    run_step(person(tmp_path, "third", url), never)


def test_a_damaged_or_hostile_action_is_a_miss(tmp_path, s3):
    url = f"s3://team/{tmp_path.name}"
    run_step(person(tmp_path, "colleague", url), compute)
    mine = person(tmp_path, "me", url, upload=False)
    hostile = Result({"../../outside": Content("a" * 64, 1)}).to_bytes()
    for entry in (b"", b"{", hostile):
        s3.put_object(Bucket="team", Key=f"{tmp_path.name}/actions/{mine.action.key}", Body=entry)
        assert mine.store.fetch(mine.action.key) is None
    run_step(mine, compute)
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize(
    "url",
    ["s3://team/down", "s3://no-such-bucket/x", "nosuchprotocol://x/y"],
    ids=["down", "no bucket", "no backend"],
)
def test_a_remote_that_is_down_is_a_warning_and_the_work_is_done(
    tmp_path, s3, url, caplog, monkeypatch
):
    if url.endswith("down"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody listens
        s3fs.S3FileSystem.clear_instance_cache()
    mine = person(tmp_path, "me", url)
    with caplog.at_level(logging.WARNING, "megaport"):
        run_step(mine, compute)
    assert state(tmp_path / "me")
    assert caplog.text.count("the work is done here") == 1, caplog.text


def test_without_a_remote_nothing_of_it_is_imported(tmp_path, monkeypatch):
    for name in ("fsspec", "s3fs"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it now raises ImportError
    run_step(step_in(tmp_path), compute)
