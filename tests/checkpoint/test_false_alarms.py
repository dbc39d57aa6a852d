"""What attacks are refused by must not refuse what real Megatron code writes."""

from pathlib import Path

import pytest

from megaport.checkpoint.files import digest_files
from megaport.checkpoint.open import open_checkpoint
from megaport.checkpoint.pickle import read_pickle
from megaport.checkpoint.regions import map_file
from support.effects import no_effect
from support.oracles import ORACLES, Oracle, oracle_cases


@pytest.mark.oracle
@pytest.mark.parametrize("oracle", oracle_cases(), ids=lambda oracle: oracle.name)
def test_no_false_alarm_on_any_oracle(oracle: Oracle, tmp_path: Path) -> None:
    digests = digest_files(oracle.path, spool=tmp_path)
    checkpoint = open_checkpoint(oracle.path, version=oracle.version, spool=tmp_path)
    assert digests
    assert all(shard.array.size for shards in checkpoint.tensors.values() for shard in shards)


@pytest.mark.oracle
@pytest.mark.parametrize("path", sorted(ORACLES.rglob(".metadata")), ids=lambda p: p.parts[-3])
def test_no_false_alarm_on_the_metadata_of_distributed_checkpoints(path: Path) -> None:
    mapped = map_file(path)
    with no_effect():
        found = read_pickle(mapped)
    assert found.state["state_dict_metadata"]
