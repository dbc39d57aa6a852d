"""Memory is a few chunks, whatever the size: a Llama of 8B sizes, from two ranks' torch_dist."""

import json

import pytest

from support.subjects import python

MAKE = """
import sys
from pathlib import Path
from llama_checkpoint import make_llama
make_llama(Path(sys.argv[1]), 2)
"""
CONVERT = """
import json, sys, threading
from pathlib import Path
from megaport.checkpoint.architecture import describe_architecture
from megaport.checkpoint.open import open_checkpoint
from megaport.convert.convert import convert_checkpoint

seen, done = [], threading.Event()
def watch():
    while not done.wait(0.005):
        lines = Path("/proc/self/status").read_text().splitlines()
        seen.extend(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
threading.Thread(target=watch).start()
folder = Path(sys.argv[1])
checkpoint = open_checkpoint(folder / "llama", spool=folder)
architecture = describe_architecture(checkpoint, {})
found = convert_checkpoint(
    checkpoint, architecture, folder / "out", dtype=None, max_shard_size=10**9
)
done.set()
print(json.dumps([max(seen) / 1024, len(seen), sorted(found.digests)]))
"""


@pytest.mark.slow
def test_a_llama_of_3_gb_takes_less_than_100_mb(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("large")
    python(MAKE, folder / "llama")
    megabytes, samples, names = json.loads(python(CONVERT, folder))
    assert samples > 20 and megabytes < 100
    assert names == [
        "config.json",
        *(f"model-{n:05d}-of-00003.safetensors" for n in (1, 2, 3)),
        "model.safetensors.index.json",
    ]
    for path in (folder / "out").iterdir():
        path.unlink()
