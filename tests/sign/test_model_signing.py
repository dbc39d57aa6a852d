"""Signed by model-signing, verified as whoever receives the model would: by its command line."""

import base64
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from megaport.sign.keys import KeyPair
from megaport.sign.sign import sign_model
from support.signing_keys import write_pair

FILES = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 40, "SHA256SUMS": b"x"}
CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


def sign(folder: Path, out: Path, keys: KeyPair) -> None:
    digest = hashlib.sha256(keys.public.read_bytes()).hexdigest()
    sign_model(folder, out, keys, public_sha256=digest)


def verify(folder: Path, signature: Path, public: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "model_signing", "verify", "key", "--signature", signature]
    return subprocess.run(
        [*command, "--public_key", public, folder], capture_output=True, text=True, check=False
    )


@pytest.fixture
def model(tmp_path):
    """A signed directory: (folder, signature, keys)."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    keys = write_pair(tmp_path / "keys")
    sign(folder, tmp_path / "model.sig", keys)
    return folder, tmp_path / "model.sig", keys


def test_what_is_signed_verifies(model):
    folder, signature, keys = model
    verified = verify(folder, signature, keys.public)
    assert (verified.returncode, verified.stdout.strip()) == (0, "Verification succeeded")


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)
@pytest.mark.parametrize("password", [None, b"open sesame"])
def test_every_kind_of_key_that_is_taken_signs(model, tmp_path, curve, password):
    keys = write_pair(tmp_path / "other", ec.generate_private_key(curve()), password)
    sign(model[0], tmp_path / "other.sig", keys)
    assert verify(model[0], tmp_path / "other.sig", keys.public).returncode == 0


def test_links_into_a_store_sign_for_the_files_they_show(model, tmp_path):
    folder, _, keys = model
    links = tmp_path / "links" / "model"
    links.mkdir(parents=True)
    for name in FILES:
        (links / name).symlink_to(folder / name)
    sign(links, tmp_path / "links.sig", keys)
    assert verify(folder, tmp_path / "links.sig", keys.public).returncode == 0


TAMPERING = {
    "a flipped bit": lambda d: (d / "model.safetensors").write_bytes(
        b"\1" + FILES["model.safetensors"][1:]
    ),
    "a byte more": lambda d: (d / "config.json").write_bytes(b"{} "),
    "an emptied file": lambda d: (d / "config.json").write_bytes(b""),
    "a file less": lambda d: (d / "SHA256SUMS").unlink(),
    "a file more": lambda d: (d / "modeling_gpt2.py").write_bytes(b"import os"),
    "a file in a folder": lambda d: (d / "x").mkdir() or (d / "x" / "y").write_bytes(b""),
    "a file of another name": lambda d: (d / "config.json").rename(d / "config2.json"),
    "two files swapped": lambda d: (
        (d / "config.json").rename(d / "t"),
        (d / "SHA256SUMS").rename(d / "config.json"),
        (d / "t").rename(d / "SHA256SUMS"),
    ),
}


@pytest.mark.parametrize("how", TAMPERING)
def test_a_directory_that_was_tampered_with_fails_to_verify(model, how):
    folder, signature, keys = model
    TAMPERING[how](folder)
    verified = verify(folder, signature, keys.public)
    assert verified.returncode == 1 and "Verification failed" in verified.stdout + verified.stderr


def test_another_key_fails_to_verify(model, tmp_path):
    folder, signature, _ = model
    other = write_pair(tmp_path / "other")
    assert verify(folder, signature, other.public).returncode == 1


@pytest.mark.parametrize("part", ["payload", "signatures"])
def test_a_bundle_that_was_tampered_with_fails_to_verify(model, part):
    folder, signature, keys = model
    bundle = json.loads(signature.read_text())
    envelope = bundle["dsseEnvelope"]
    if part == "payload":
        envelope["payload"] = envelope["payload"][:-8] + "AAAAAAA="
    else:
        envelope["signatures"][0]["sig"] = envelope["signatures"][0]["sig"][:-8] + "AAAAAAA="
    signature.write_text(json.dumps(bundle))
    assert verify(folder, signature, keys.public).returncode == 1


def test_the_bundle_holds_the_public_keys_digest_and_nothing_of_the_private_one(model):
    _, signature, keys = model
    bundle = json.loads(signature.read_text())
    digest = hashlib.sha256(keys.public.read_bytes()).hexdigest()
    assert bundle["verificationMaterial"]["publicKey"] == {"hint": digest}
    told = signature.read_bytes() + base64.b64decode(bundle["dsseEnvelope"]["payload"])
    assert keys.private.read_bytes().splitlines()[1] not in told and b"private" not in told
