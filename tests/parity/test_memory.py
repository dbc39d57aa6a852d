"""Row "CUDA out of memory": parity says so, whether the weights or a forward pass find no room."""

from pathlib import Path

import pytest
import torch

from megaport.generate.engines.base import OutOfMemoryError
from megaport.parity.parity import run_parity
from support.subjects import OPTIONS, convert, random_gpt2

FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB\nand a table")


@pytest.mark.parametrize("at", ["parity.load_converted", "converted.Converted.logits"])
def test_cuda_out_of_memory_in_parity_names_the_key_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise FULL

    subject = random_gpt2()
    model = convert(subject, tmp_path / "model")
    monkeypatch.setattr(f"megaport.parity.{at}", full)
    with pytest.raises(OutOfMemoryError, match=r"Tried to allocate 9 GiB\).*parity\.device: cpu"):
        run_parity(subject.checkpoint, subject.architecture, model, tmp_path, options=OPTIONS)
    assert not (tmp_path / "parity.json").exists()
