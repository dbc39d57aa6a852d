"""The key pair that signs: read and held against each other before anything is signed."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from megaport.sign.errors import SigningKeyError

PASSWORD = "SIGNING_KEY_PASSWORD"
CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
KIND = f"a PEM file with the {{half}} half of an EC key on {', '.join(CURVES.values())}"
MAKE = (
    "Make a pair: `openssl ecparam -name prime256v1 -genkey -noout -out private.pem`, then "
    "`openssl ec -in private.pem -pubout -out public.pem`."
)


@dataclass(frozen=True)
class KeyPair:
    """Two PEM files; `password` opens the private one where it is encrypted."""

    private: Path
    public: Path
    password: bytes | None = field(default=None, repr=False)

    def check(self, public_sha256: str | None) -> bytes | None:
        """Both halves can be read, belong together, and the public file has the digest given.

        Returns the password where the private key needs one: model-signing takes no needless one.
        Raises SigningKeyError.
        """
        from cryptography.hazmat.primitives import serialization

        content = _read("public", self.public)
        public = _load("public", self.public, lambda: serialization.load_pem_public_key(content))
        secret = _read("private", self.private)
        password = self.password if b"ENCRYPTED" in secret else None
        private = _load(
            "private", self.private, lambda: serialization.load_pem_private_key(secret, password)
        )
        if private.public_key() != public:
            raise _wrong("public", self.public, f"another key's half than in {self.private}")
        if hashlib.sha256(content).hexdigest() != public_sha256:
            raise SigningKeyError(
                f"sign.public_key {self.public}",
                seen="a file that changed while the workflow ran",
                expected="the bytes the run started with",
                remedy="Run the same command again.",
            )
        return password


def _read(half: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _wrong(half, path, error.strerror) from error


def _load(half: str, path: Path, load: Callable[[], Any]) -> Any:
    """The key, on one of CURVES. What the library says of a bad file is not passed on."""
    try:
        key = load()
    except TypeError:
        raise SigningKeyError(
            f"sign.{half}_key {path}",
            seen="an encrypted key and no password",
            expected=f"the key's password in the environment variable {PASSWORD}",
            remedy=f"Export {PASSWORD}, then run the same command again.",
        ) from None
    except Exception:  # of many kinds, some of them OpenSSL's
        raise _wrong(half, path, f"no {half} key that can be read") from None
    curve = getattr(getattr(key, "curve", None), "name", type(key).__name__)
    if curve not in CURVES:
        raise _wrong(half, path, f"a key of another kind ({curve})")
    return key


def _wrong(half: str, path: Path, seen: str | None) -> SigningKeyError:
    return SigningKeyError(
        f"sign.{half}_key {path}", seen=seen, expected=KIND.format(half=half), remedy=MAKE
    )
