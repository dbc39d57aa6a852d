"""`snakemake sign`: by model-signing where that is installed, else by a stand-in for it."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from support.checkout import Ran, checkout, snakemake
from support.signing_keys import STANDIN, write_pair

PACKAGES = None if find_spec("model_signing") else STANDIN
PASSWORD = "open sesame"
RESULTS = Path("results/austen-tiny")


class Checkout:
    """A checkout with two key pairs, the first encrypted, and runs in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = checkout(folder)
        for name, password in (("mine", PASSWORD.encode()), ("other", None)):
            pair = write_pair(folder / name, password=password)
            halves = {"private_key": str(pair.private), "public_key": str(pair.public)}
            self.configure(name, halves)
        self.configure("none", {"private_key": None, "public_key": None})

    def configure(self, name: str, halves: dict[str, str | None]) -> None:
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump({"sign": halves}))

    def run(self, *arguments: str, keys: str = "mine", path: Path | None = PACKAGES) -> Ran:
        given = (*arguments, "--configfile", f"{keys}.yaml")
        extra = {"PYTHONPATH": path and str(path), "SIGNING_KEY_PASSWORD": PASSWORD}
        return snakemake(self.folder, *given, **extra)

    def signature(self) -> bytes:
        return (self.folder / RESULTS / "model.sig").read_bytes()


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    """A checkout in which `sign` has run with the key `mine`, the run, and its signature."""
    place = Checkout(tmp_path_factory.mktemp("sign") / "a place with späces")
    ran = place.run("sign")
    assert ran.status == 0, ran.text
    return place, ran, place.signature()


def test_the_signature_is_over_every_file_of_the_model_directory(signed):
    place, ran, _ = signed
    receipt = json.loads((place.folder / RESULTS / "sign.json").read_text())
    files = {f"model/{path.name}" for path in (place.folder / RESULTS / "model").iterdir()}
    assert "sign" in ran.computed and set(receipt["inputs"]["assemble"]) == files
    assert list(receipt["outputs"]) == ["model.sig"] and list(receipt["parameters"]) == [
        "public_key"
    ]


def test_the_private_key_and_its_password_are_nowhere(signed):
    place, ran, _ = signed
    private = place.folder / "mine" / "private.pem"
    secrets = [*private.read_bytes().splitlines()[1:-1], PASSWORD.encode()]
    files = [p for p in place.folder.rglob("*") if p.is_file() and p != private]
    assert [p for p in files for secret in secrets if secret in p.read_bytes()] == []
    assert not any(secret.decode() in ran.text for secret in secrets)


def test_the_private_keys_path_is_in_no_receipt_and_no_store(signed):
    place, _, _ = signed
    files = [p for top in ("results", ".store") for p in (place.folder / top).rglob("*")]
    assert [p for p in files if p.is_file() and b"private.pem" in p.read_bytes()] == []


def test_the_same_model_and_key_give_the_same_file_although_ecdsa_is_random(signed):
    place, _, signature = signed
    for name in ("sign.json", "model.sig"):
        (place.folder / RESULTS / name).unlink()
    assert (place.run("sign").hits, place.signature()) == ({"sign"}, signature)


def test_another_key_signs_again_and_going_back_is_a_hit(signed):
    place, _, signature = signed
    assert place.run("sign", keys="other").computed == {"sign"}
    assert place.signature() != signature
    assert (place.run("sign").hits, place.signature()) == ({"sign"}, signature)


def test_all_signs_where_keys_are_configured_and_only_there(signed):
    place, _, _ = signed
    (place.folder / RESULTS / "sign.json").unlink(missing_ok=True)
    assert "sign_model" in place.run("-n", "all").text
    assert "sign_model" not in place.run("-n", "all", keys="none").text


def test_without_keys_the_error_says_how_to_make_them(signed):
    place, _, _ = signed
    ran = place.run("sign", keys="none")
    assert ran.status != 0 and "openssl ecparam" in ran.text and "Traceback" not in ran.text


def test_halves_of_two_keys_are_refused_and_nothing_is_published(signed):
    place, _, _ = signed
    halves = {"private_key": "mine/private.pem", "public_key": "other/public.pem"}
    place.configure("mixed", halves)
    ran = place.run("sign", "-R", "sign", keys="mixed")
    assert ran.status != 0 and "another key's half" in ran.text and "Traceback" not in ran.text
    assert not (place.folder / RESULTS / "model.sig").exists()


def test_without_the_package_the_error_says_what_to_install(signed, tmp_path):
    place, _, _ = signed
    (tmp_path / "model_signing.py").write_text("raise ImportError('no model_signing')")
    ran = place.run("sign", "-R", "sign", path=tmp_path)
    assert ran.status != 0 and "pip install model-signing pyopenssl" in ran.text
    assert "Traceback" not in ran.text
