"""Rank files of Megatron-LM's own model class, 2019 to 2024, and of core's format `torch`.

The first have a transformer or encoder, the others a flat dictionary below `decoder`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from megaport.checkpoint.architecture import table_of
from megaport.checkpoint.contents import Contents, flatten
from megaport.checkpoint.evidence import check_ranks
from megaport.checkpoint.families.names import resolver, stage_of, unwrapped, weights_beside
from megaport.checkpoint.findings import Findings
from megaport.checkpoint.model import CORE_RANKS, LEGACY_RANKS
from megaport.checkpoint.ranks import Ranks, first_state, load_ranks, wrong_file
from megaport.checkpoint.stages import Parts, Stage
from megaport.checkpoint.version import Layout
from megaport.table import Table

_MODEL = re.compile(r"model\d*|module")
_LEGACY, _CORE = ("transformer", "encoder"), ("decoder",)


def recognise_core(contents: Contents) -> str | None:
    """Why these are Megatron core's rank files, or None."""
    names = map(unwrapped, _names(first_state(contents)))
    if not any(name.startswith(("decoder.", "embedding.")) for name in names):
        return None
    return "rank files hold decoder.layers and embedding keys, as Megatron core names them"


def recognise_legacy(contents: Contents) -> str | None:
    """Why these are legacy rank files, or None."""
    names = _names(first_state(contents))
    if not any(map(resolver(table_of(names), *_LEGACY), names)):
        return None
    return f"rank files hold tensors under {_stack(names)}.layers, as Megatron-LM names them"


def read_core(contents: Contents, findings: Findings) -> Parts:
    """The tensors of core's rank files, stage by stage."""
    era = "2023 on: Megatron core, torch format"
    return _parts(contents, findings, CORE_RANKS, era, Layout(), _CORE)


def read_legacy(contents: Contents, findings: Findings) -> Parts:
    """The tensors of legacy rank files, stage by stage."""
    state = first_state(contents)
    names = _names(state)
    since = any(part in name for name in names for part in ("encoder.", ".self_attention."))
    layout = Layout(since_2021=since)
    era = _era(names, state.get("checkpoint_version"))
    return _parts(contents, findings, LEGACY_RANKS, era, layout, _LEGACY)


def _model_keys(state: Mapping[str, Any]) -> list[str]:
    """`model`, or `model0`, `model1`, ... of virtual pipeline stages, or DeepSpeed's `module`."""
    return [key for key in state if _MODEL.fullmatch(str(key)) and isinstance(state[key], dict)]


def _names(state: Mapping[str, Any]) -> list[str]:
    return [name for key in _model_keys(state) for name, _ in flatten(state[key])]


def _stack(names: list[str]) -> str:
    return "encoder" if any("encoder." in name for name in names) else "transformer"


def _era(names: list[str], version: Any) -> str:
    if not any(name.startswith("language_model.") for name in names):
        return "mid 2019: flat names"
    if _stack(names) == "transformer":
        if version is None:
            return "October 2019 to September 2020: language_model.transformer, no version"
        return "September 2020 to January 2021 (v1.1.5 to v2.0): language_model.transformer"
    if any("input_norm." in name for name in names):
        return "September 2023 on (core 0.4): language_model.encoder, input_norm"
    return "January 2021 (v2.5) to September 2023: language_model.encoder"


def _parts(
    contents: Contents,
    findings: Findings,
    family: str,
    era: str,
    layout: Layout,
    stacks: Sequence[str],
) -> Parts:
    """All stages in running order, virtual stage outer; layers lie under one of `stacks`."""
    state = first_state(contents)
    keys = _model_keys(state)
    table = table_of(_names(state))
    ranks = load_ranks(contents, table)
    check_ranks(ranks.files, contents.state, table, findings)
    _refuse_uneven_chunks(contents, ranks, keys)
    stages = tuple(_stages(contents, ranks, keys, table, stacks, findings))
    for name in ranks.files.values():
        for beside in weights_beside(contents.state(name), keys):
            findings.report("extra", beside, f"beside the model in {name}")
    used = set(ranks.files.values())
    others = {key for key in state if key not in {*keys, "args", "checkpoint_version", "iteration"}}
    return Parts(
        source=contents.source,
        family=family,
        era=era,
        serialization=contents.serialization(ranks.files[0, 0]),
        layout=layout,
        table=table,
        stages=stages,
        tensor_parallel=ranks.tensor,
        pipeline_parallel=ranks.pipeline,
        virtual_pipeline=len(keys),
        args=ranks.args,
        stated_version=state.get("checkpoint_version"),
        stated_iteration=state.get("iteration"),
        findings=findings,
        ignored=(*sorted(map(str, others)), *(n for n in contents.files if n not in used)),
    )


def _refuse_uneven_chunks(contents: Contents, ranks: Ranks, keys: list[str]) -> None:
    wanted = ["model"] if len(keys) == 1 else [f"model{n}" for n in range(len(keys))]
    wanted = ["module"] if keys == ["module"] else wanted
    for name in ranks.files.values():
        found = _model_keys(contents.state(name))
        if sorted(found) != sorted(wanted):
            raise wrong_file(
                name, f"the model under {', '.join(found) or 'no key'}", ", ".join(wanted)
            )


def _stages(
    contents: Contents,
    ranks: Ranks,
    keys: list[str],
    table: Table,
    stacks: Sequence[str],
    findings: Findings,
) -> Iterator[Stage]:
    for key in sorted(keys, key=lambda key: (len(key), key)):
        for pipeline in range(ranks.pipeline):
            files = [ranks.files[tensor, pipeline] for tensor in range(ranks.tensor)]
            trees = [contents.state(file)[key] for file in files]
            labels = [f"{file}:{key}" if len(keys) > 1 else file for file in files]
            yield stage_of(labels, trees, table, stacks, findings)
