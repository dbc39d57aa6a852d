"""Keys that sign, and what is said of every other one; never what is in them."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from megaport.sign.errors import SigningError, SigningKeyError
from megaport.sign.keys import KeyPair
from megaport.sign.sign import configured
from support.signing_keys import write_pair, write_private, write_public

CURVES = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1}
OTHERS = {
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
}


def check(pair: KeyPair) -> bytes | None:
    """The password that the private key needs."""
    return pair.check(hashlib.sha256(pair.public.read_bytes()).hexdigest())


def refusal(pair: KeyPair) -> str:
    """What is said of a pair, after making sure that it gives nothing away."""
    digest = hashlib.sha256(pair.public.read_bytes()).hexdigest() if pair.public.exists() else None
    with pytest.raises(SigningKeyError) as caught:
        pair.check(digest)
    secret = pair.private.read_text().splitlines()[1:-1] if pair.private.is_file() else []
    assert [line for line in secret if line in str(caught.value)] == []
    return str(caught.value)


@pytest.mark.parametrize("curve", CURVES)
def test_keys_on_each_curve_are_taken(tmp_path, curve):
    assert check(write_pair(tmp_path, ec.generate_private_key(CURVES[curve]()))) is None


def test_keys_as_openssl_ecparam_writes_them_are_taken(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    write_private(tmp_path / "private.pem", key, form="SEC1")
    pair = KeyPair(tmp_path / "private.pem", write_public(tmp_path / "public.pem", key))
    assert check(pair) is None


def test_an_encrypted_key_is_opened_with_its_password(tmp_path):
    assert check(write_pair(tmp_path, password=b"open sesame")) == b"open sesame"


def test_a_password_is_kept_from_a_key_in_the_clear(tmp_path):
    pair = write_pair(tmp_path)
    assert check(KeyPair(pair.private, pair.public, b"open sesame")) is None


def test_an_encrypted_key_without_password_names_the_variable(tmp_path):
    pair = write_pair(tmp_path, password=b"open sesame")
    assert "Export SIGNING_KEY_PASSWORD" in refusal(KeyPair(pair.private, pair.public))


def test_a_wrong_password_is_refused_and_not_shown(tmp_path):
    pair = write_pair(tmp_path, password=b"open sesame")
    told = refusal(KeyPair(pair.private, pair.public, b"swordfish"))
    assert "sign.private_key" in told and "swordfish" not in told


@pytest.mark.parametrize("kind", OTHERS)
def test_keys_of_another_kind_are_refused_by_name(tmp_path, kind):
    told = refusal(write_pair(tmp_path, OTHERS[kind]()))
    assert kind.lower() in told.lower() and "P-256, P-384, P-521" in told and "openssl" in told


@pytest.mark.parametrize("half", ["private", "public"])
def test_a_missing_key_is_named(tmp_path, half):
    pair = write_pair(tmp_path)
    getattr(pair, half).unlink()
    told = refusal(pair)
    assert f"sign.{half}_key {getattr(pair, half)}" in told and "No such file" in told


@pytest.mark.parametrize("half", ["private", "public"])
@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PUBLIC KEY-----\nAAAA\n"])
def test_a_file_that_is_no_key_is_named(tmp_path, half, content):
    pair = write_pair(tmp_path)
    getattr(pair, half).write_bytes(content)
    assert f"sign.{half}_key {getattr(pair, half)}: found no {half} key" in refusal(pair)


def test_halves_that_are_swapped_are_refused(tmp_path):
    pair = write_pair(tmp_path)
    assert "found no public key" in refusal(KeyPair(pair.public, pair.private))


def test_halves_of_two_keys_are_refused(tmp_path):
    pair, other = write_pair(tmp_path / "one"), write_pair(tmp_path / "other")
    told = refusal(KeyPair(pair.private, other.public))
    assert f"another key's half than in {pair.private}" in told


def test_a_public_key_that_changed_during_the_run_is_refused(tmp_path):
    with pytest.raises(SigningKeyError, match="changed while the workflow ran"):
        write_pair(tmp_path).check("0" * 64)


@pytest.mark.parametrize("keys", [(None, None), ("private.pem", None)])
def test_no_keys_is_an_error_that_says_how_to_make_them(keys):
    with pytest.raises(SigningError, match="openssl ecparam"):
        configured(*keys)


def test_the_password_comes_from_the_environment_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("SIGNING_KEY_PASSWORD", "open sesame")
    assert configured(tmp_path, tmp_path).password == b"open sesame"
