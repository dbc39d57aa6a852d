"""A disk that is full, failing or read-only: a clean error, and a retry that works."""

import errno
import os

import pytest

from megaport.store.step import run_step
from megaport.store.verify import verify
from support.small_step import compute, state, step_in


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=errno.errorcode.get)
@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
def test_every_call_may_fail_once(tmp_path, monkeypatch, code, call):
    real, failures = getattr(os, call), iter([True])

    def failing(*arguments, **options):
        if next(failures, False):
            raise OSError(code, os.strerror(code), "disk")
        return real(*arguments, **options)

    monkeypatch.setattr(os, call, failing)
    with pytest.raises(OSError, match=os.strerror(code)):
        run_step(step_in(tmp_path), compute)
    assert not (tmp_path / "results" / "m" / "build.json").exists()
    assert verify(step_in(tmp_path).store).clean
    run_step(step_in(tmp_path), compute)
    assert state(tmp_path)
    assert list((tmp_path / "store" / "tmp").iterdir()) == []
