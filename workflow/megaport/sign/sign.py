"""A Sigstore bundle over every file of a model directory, by a key pair, offline."""

import os
from pathlib import Path
from typing import Any

from megaport.sign.errors import SigningError
from megaport.sign.keys import MAKE, PASSWORD, KeyPair


def configured(private: Path | None, public: Path | None) -> KeyPair:
    """The key pair that config.yaml names. Raises SigningError where it names none."""
    if private is None or public is None:
        raise SigningError(
            "sign.private_key and sign.public_key",
            seen="null",
            expected="the paths of a key pair",
            remedy=f"{MAKE} Then name both in config.yaml or your --configfile.",
        )
    password = os.environ.get(PASSWORD)
    return KeyPair(private, public, password.encode() if password else None)


def sign_model(folder: Path, out: Path, keys: KeyPair, *, public_sha256: str | None) -> None:
    """Sign every file in `folder`, looking through symlinks, and write the bundle to `out`.

    `public_sha256`: digest of the public key's file, by which the signature is known. ECDSA draws
    a random number, so signing again gives other bytes, as valid.

    Raises SigningError: no model-signing; SigningKeyError: keys that cannot sign together.
    """
    hashing, signing = _model_signing()
    password = keys.check(public_sha256)
    config = signing.Config()
    config.set_hashing_config(hashing.Config().set_allow_symlinks(True))
    config.use_elliptic_key_signer(private_key=keys.private, password=password)
    config.sign(folder, out)


def _model_signing() -> tuple[Any, Any]:
    try:
        from model_signing import hashing, signing
    except ImportError as error:
        raise SigningError(
            "model-signing",
            seen=str(error),
            expected="the packages that sign a model",
            remedy="Install them: `pip install model-signing pyopenssl`, or use --use-conda.",
        ) from error
    return hashing, signing
