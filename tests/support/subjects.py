"""What is converted: random GPT-2s as read from Megatron, oracles, the bundled model; and that."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from megaport.checkpoint.architecture import describe_architecture
from megaport.checkpoint.inspect import inspection
from megaport.checkpoint.model import Checkpoint
from megaport.checkpoint.open import open_checkpoint
from megaport.convert.convert import convert_checkpoint
from megaport.convert.model_dir import assemble_model
from megaport.convert.tokenizer import PUBLISHED, TokenizerFiles
from megaport.gpt2 import GPT2 as TABLE
from megaport.parity.inputs import ParityOptions
from megaport.parity.reference import Reference
from megaport.parity.references import reference_of
from megaport.table import Architecture, Table
from megaport.tensors import TORCH_NAME, Tensor
from support.checkout import ROOT
from support.llama_files import Llama
from support.megatron_model import Model, as_tensor
from support.oracles import Oracle

RESOURCES = ROOT / "resources"
GPT2 = RESOURCES / "gpt2"
TOKENIZER = TokenizerFiles(GPT2, PUBLISHED)
TEXT = RESOURCES / "parity" / "text.txt"
PUBLISHED_IDS = TEXT.with_name("gpt2_ids.json")
OPTIONS = ParityOptions(text=TEXT, device="cpu", dtypes=())
BUNDLED = RESOURCES / "austen-tiny" / "megatron_austen_tiny_v0.0.zip"
# What the bundled file does not say.
SAID = {"n_head": 4, "vocab_size": 50257, "activation_function": "gelu_new"}
SIZES = {"layers": 3, "heads": 4, "hidden": 32, "positions": 24, "vocab": 101, "padded": 128}
SMALL = {"layers": 2, "hidden": 16, "positions": 8}
SENTENCE = "It is a truth universally acknowledged, that a single man must be in want of a wife."
# The checkpoint_version by the order of query, key and value rows.
VERSIONS = {"3,np,hn": None, "np,hn,3": 1.0, "np,3,hn": 3.0}


def random_gpt2(
    *, order: str = "3,np,hn", ranks: int = 1, activation: str = "gelu_new", **fields: Any
) -> Reference:
    """A model of `Model`'s `fields`, as `ranks` hold it with QKV rows in this order."""
    model = Model(**SIZES | fields)
    version = VERSIONS[order]
    tensors = {
        name: tuple(
            as_tensor(model.shard(name, rank, ranks, int(version or 0)))
            for rank in range(ranks if model.axis(name) is not None else 1)
        )
        for name in model.tensors
    }
    numbers = {"n_positions": model.positions, "activation_function": activation}
    numbers["dtype"] = TORCH_NAME[model.dtype]
    facts = {"family": "legacy_ranks", "serialization": "legacy", "qkv_order": order}
    return as_read(TABLE, model, tensors, ranks, numbers, version=version, **facts)


def small(**fields: Any) -> Reference:
    """A random GPT-2 of two layers in FP16, unless told otherwise."""
    return random_gpt2(**{"dtype": "F16", **SMALL, **fields})


def as_read(
    table: Table,
    model: Model | Llama,
    tensors: Mapping[str, tuple[Tensor, ...]],
    ranks: int,
    numbers: Mapping[str, Any],
    **facts: Any,
) -> Reference:
    """What the reader would give: `tensors` of `ranks` ranks, without args.

    `numbers` are those of the architecture that `model` does not say, `facts` the checkpoint's.
    """
    checkpoint = Checkpoint(
        table=table,
        era="a random model",
        tensor_parallel=ranks,
        pipeline_parallel=1,
        virtual_pipeline=1,
        args=None,
        iteration=None,
        layers=model.layers,
        tensors=tensors,
        ignored=(),
        decisions=(),
        **facts,
    )
    architecture = Architecture(
        n_layer=model.layers,
        n_head=model.heads,
        n_embd=model.hidden,
        n_inner=model.inner,
        vocab_size=model.vocab,
        padded_vocab_size=model.padded,
        layer_norm_epsilon=1e-5,
        tie_word_embeddings=not model.untied,
        layernorm_1p=False,
        decisions=(),
        **numbers,
    )
    return reference_of(checkpoint, architecture)


def convert(
    subject: Reference, out: Path, *, dtype: str | None = None, max_shard_size: int | None = None
) -> Path:
    """The model directory the project's own converter makes of it, without a tokenizer."""
    found = convert_checkpoint(
        subject.checkpoint, subject.architecture, out, dtype=dtype, max_shard_size=max_shard_size
    )
    assert found.digests == {name: digest(out / name) for name in found.digests}
    return out


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read(
    path: Path, spool: Path, said: Mapping[str, Any], version: float | None = None
) -> Reference:
    """What the reader makes of `path`; `said`: what config.yaml would have to say of it."""
    checkpoint = open_checkpoint(path, version=version, spool=spool)
    return reference_of(checkpoint, describe_architecture(checkpoint, said))


def read_oracle(oracle: Oracle, spool: Path) -> Reference:
    return read(oracle.path, spool, oracle.architecture, oracle.version)


def read_bundled(spool: Path) -> Reference:
    return read(BUNDLED, spool, SAID)


def assembled(
    subject: Reference,
    folder: Path,
    *,
    tokenizer: TokenizerFiles | None = TOKENIZER,
    name: str = "austen-tiny",
    **options: Any,
) -> Path:
    """Convert and assemble `subject` in `folder`, as the workflow does; its model directory."""
    provenance = {
        "name": name,
        "content": "c0ffee" * 10,
        "inspection": inspection(subject.checkpoint, subject.architecture),
        "software": {"numpy": "2.4.6"},
    }
    converted = convert(subject, folder / "converted", **options)
    out = folder / "model"
    digests = assemble_model(converted, out, tokenizer=tokenizer, provenance=provenance)
    assert digests == {path.name: digest(path) for path in out.iterdir()}
    return out


def with_tokenizer(model: Path) -> Path:
    """The model directory `model`, with GPT-2's vocabulary and merges in it."""
    for name in PUBLISHED:
        shutil.copy(GPT2 / name, model / name)
    return model


def lines_of_text(count: int) -> list[str]:
    """The first long lines of the text that parity measures on: Jane Austen's, held out, cut to
    what the bundled model's 256 positions hold."""
    text = TEXT.read_text(encoding="utf-8")
    return [line[:600] for line in text.splitlines() if len(line) > 40][:count]


def trained(*special: str) -> Tokenizer:
    """A byte-level BPE of 300 tokens, like GPT-2's but for its size."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=[AddedToken(token, special=True) for token in special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([SENTENCE] * 9, trainer)
    return tokenizer


def python(script: str, *arguments: object, **environment: str) -> str:
    """What `script` prints in a process of its own that can import `megaport` and `support`."""
    folders = [str(ROOT / name) for name in ("workflow", "tests", "benchmarks")]
    found = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(folders)}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(
        command, env=found | environment, check=True, capture_output=True, text=True
    ).stdout
