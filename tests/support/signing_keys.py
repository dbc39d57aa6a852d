"""Key pairs for the tests of `sign`, made by the library behind model-signing."""

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from megaport.sign.keys import KeyPair

STANDIN = Path(__file__).parent / "model_signing_standin"
PEM = serialization.Encoding.PEM
FORMS = {
    "PKCS8": serialization.PrivateFormat.PKCS8,
    "SEC1": serialization.PrivateFormat.TraditionalOpenSSL,
}


def write_private(path: Path, key: Any, password: bytes | None = None, form: str = "PKCS8") -> Path:
    encryption = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    path.write_bytes(key.private_bytes(PEM, FORMS[form], encryption))
    return path


def write_public(path: Path, key: Any) -> Path:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    path.write_bytes(key.public_key().public_bytes(PEM, form))
    return path


def write_pair(folder: Path, key: Any = None, password: bytes | None = None) -> KeyPair:
    """private.pem and public.pem of `key`, or of a new one on P-256."""
    folder.mkdir(parents=True, exist_ok=True)
    key = key or ec.generate_private_key(ec.SECP256R1())
    private = write_private(folder / "private.pem", key, password)
    return KeyPair(private, write_public(folder / "public.pem", key), password)
