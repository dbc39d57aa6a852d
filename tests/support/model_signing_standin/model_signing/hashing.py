"""As model_signing.hashing, as far as it is used."""

import hashlib
from pathlib import Path


class Config:
    def set_allow_symlinks(self, allow: bool) -> "Config":
        self.symlinks = allow
        return self

    def hash(self, folder: Path) -> dict[str, str]:
        assert self.symlinks or not any(path.is_symlink() for path in folder.rglob("*"))
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {
            str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
        }
