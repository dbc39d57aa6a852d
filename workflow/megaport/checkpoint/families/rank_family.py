"""What legacy and core rank files share: the grid of ranks, virtual stages and who holds what."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from megaport.architectures import table_of
from megaport.checkpoint.contents import Contents, flatten
from megaport.checkpoint.evidence import check_ranks
from megaport.checkpoint.families.names import stage_of, weights_beside
from megaport.checkpoint.findings import Findings
from megaport.checkpoint.ranks import RankFilesError, Ranks, load_ranks, rank_names
from megaport.checkpoint.stages import Parts, Stage
from megaport.checkpoint.version import Layout
from megaport.table import Table

_MODEL = re.compile(r"model\d*|module")


def model_keys(state: Mapping[str, Any]) -> list[str]:
    """`model`, or `model0`, `model1`, ... of virtual pipeline stages, or DeepSpeed's `module`."""
    return [key for key in state if _MODEL.fullmatch(str(key)) and isinstance(state[key], dict)]


def parts_of_ranks(
    contents: Contents,
    findings: Findings,
    family: str,
    era: str,
    layout: Layout,
    stacks: Sequence[str],
) -> Parts:
    """All stages in running order, virtual stage outer; layers lie under one of `stacks`."""
    grid = rank_names(contents)
    first = grid[min(grid)]
    state = contents.state(first)
    keys = model_keys(state)
    table = table_of(name for key in keys for name, _ in flatten(state[key]))
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
        serialization=contents.serialization(first),
        layout=layout,
        table=table,
        stages=stages,
        tensor_parallel=ranks.tensor,
        pipeline_parallel=ranks.pipeline,
        virtual_pipeline=len(keys),
        args=ranks.args,
        stated_version=state.get("checkpoint_version"),
        iteration=state.get("iteration") if isinstance(state.get("iteration"), int) else None,
        findings=findings,
        ignored=(*sorted(map(str, others)), *(n for n in contents.files if n not in used)),
    )


def _refuse_uneven_chunks(contents: Contents, ranks: Ranks, keys: list[str]) -> None:
    wanted = ["model"] if len(keys) == 1 else [f"model{n}" for n in range(len(keys))]
    wanted = ["module"] if keys == ["module"] else wanted
    for name in ranks.files.values():
        found = model_keys(contents.state(name))
        if sorted(found) != sorted(wanted):
            raise RankFilesError(
                name,
                seen=f"the model under {', '.join(found) or 'no key'}",
                expected=", ".join(wanted),
                remedy="Use the files of one save, complete.",
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
