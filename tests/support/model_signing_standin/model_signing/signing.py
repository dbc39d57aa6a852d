"""As model_signing.signing, as far as it is used: signed digests, random as ECDSA is."""

import json
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from model_signing import hashing


class Config:
    def set_hashing_config(self, config: hashing.Config) -> "Config":
        self.hashing = config
        return self

    def use_elliptic_key_signer(self, *, private_key: Path, password: bytes | None) -> "Config":
        self.key = serialization.load_pem_private_key(private_key.read_bytes(), password)
        return self

    def sign(self, folder: Path, signature: Path) -> None:
        digests = self.hashing.hash(folder)
        signed = self.key.sign(json.dumps(digests).encode(), ec.ECDSA(hashes.SHA256()))
        signature.write_text(json.dumps({"files": digests, "signature": signed.hex()}))
