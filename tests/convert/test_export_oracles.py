"""What real Megatron wrote, to GPT-2 and back to Megatron: bit for bit the same tensors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megaport.checkpoint.model import Checkpoint
from megaport.checkpoint.open import open_checkpoint
from megaport.convert.export import export_checkpoint
from support.oracles import Oracle, oracle_cases
from support.subjects import convert, read

WEIGHTS = "model.safetensors"


def whole_rows(oracle: Oracle) -> dict[str, Any]:
    """Keep the padding too, so that nothing of the source is lost on the way."""
    return {"n_head": oracle.facts["heads"], "vocab_size": oracle.facts["padded_vocab"]}


@pytest.mark.oracle
@pytest.mark.parametrize("oracle", oracle_cases(), ids=lambda oracle: oracle.name)
def test_megatron_to_gpt2_to_megatron_is_bit_identical(oracle: Oracle, tmp_path: Path) -> None:
    """Canonical tensors before and after, through the form the oracle's era is nearest to."""
    subject = read(oracle.path, tmp_path, whole_rows(oracle), oracle.version)
    convert(subject, tmp_path / "model")
    source = subject.checkpoint
    stages = source.pipeline_parallel * source.virtual_pipeline
    form: Any = "core" if oracle.name.startswith("mc_core") else "v3"
    ranks = {len(shards) for shards in source.tensors.values()}
    tensors = max(ranks)
    export_checkpoint(
        tmp_path / "model",
        tmp_path / "back",
        form=form,
        tensor_parallel=tensors,
        pipeline_parallel=stages,
    )
    again = open_checkpoint(tmp_path / "back", spool=tmp_path)
    assert list(again.tensors) == list(source.tensors)
    if source.qkv_order == again.qkv_order:
        assert_same_tensors(source, again)
    else:
        convert(read(tmp_path / "back", tmp_path, whole_rows(oracle)), tmp_path / "twice")
        assert (tmp_path / "twice" / WEIGHTS).read_bytes() == (
            tmp_path / "model" / WEIGHTS
        ).read_bytes()


def assert_same_tensors(one: Checkpoint, two: Checkpoint) -> None:
    for name, shards in one.tensors.items():
        assert len(shards) == len(two.tensors[name]), name
        for left, right in zip(shards, two.tensors[name], strict=True):
            assert left.dtype == right.dtype
            assert np.ascontiguousarray(left.array).tobytes() == right.array.tobytes(), name
