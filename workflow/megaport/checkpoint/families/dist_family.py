"""What torch_dist, zarr and torch_dcp share: keys of Megatron core, stacked or one a layer."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from megaport.architectures import table_of
from megaport.checkpoint.arena import Arena
from megaport.checkpoint.chunks import Whole, check_cover, room_for, shards_of, unstack
from megaport.checkpoint.contents import Contents, UnknownLayoutError, plain_args
from megaport.checkpoint.families.names import is_ignorable, resolver
from megaport.checkpoint.findings import Findings
from megaport.checkpoint.stages import Parts, Shards, Stage
from megaport.checkpoint.version import Layout
from megaport.table import Table, layer_name

_STACK = "decoder.layers."
# What training keeps beside the model under the same roof.
_TRAINING = (
    "optimizer",
    "chained_",
    "rng_state",
    "rerun_state_machine",
    "opt_param_scheduler",
    "lr_scheduler",
    "num_floating_point_operations_so_far",
    "content_metadata",
    "args",
    "checkpoint_version",
    "iteration",
    "ft_state",
)
Load = Callable[[str], Whole]


def is_training_state(key: str) -> bool:
    return key.startswith(_TRAINING) or is_ignorable(key)


def canonical_key(table: Table, key: str) -> tuple[str, bool] | None:
    """(canonical name or layer leaf, whether all layers are stacked in it); None if unknown."""
    name = resolver(table, "decoder")(key)
    if name:
        return name, False
    leaf = table.leaf(key.removeprefix(_STACK)) if key.startswith(_STACK) else None
    return (leaf, True) if leaf else None


def stage_of_keys(
    source: str,
    table: Table,
    keys: Iterable[str],
    load: Load,
    tensor_parallel: int,
    contents: Contents,
    findings: Findings,
) -> Stage:
    """The whole model as one stage; `keys` are native, without prefix, `load` gives the pieces."""
    known = {key: canonical_key(table, key) for key in keys}
    wholes = {key: check_cover(load(key)) for key, place in known.items() if place}
    arena = Arena(contents.spool, room_for(wholes.values()))
    tensors: dict[str, Shards] = {}
    for key, place in known.items():
        for name, whole in _named(wholes[key], *place) if place else ():
            if name in tensors:
                findings.report("twice under different names", name, f"again as {key}")
            tensors[name] = shards_of(whole, table.row(name).axis, tensor_parallel, arena)
    return Stage(source, tensors, tuple(key for key, place in known.items() if place is None))


def _named(whole: Whole, name: str, stacked: bool) -> Iterator[tuple[str, Whole]]:
    if not stacked:
        yield name, whole
        return
    for number, layer in enumerate(unstack(whole)):
        yield layer_name(number, name), layer


def parts_of_keys(
    contents: Contents,
    findings: Findings,
    family: str,
    era: str,
    serialization: str,
    common: Mapping[str, Any],
    described: str,
    keys: Collection[str],
    load: Load,
    ignored: Iterable[str],
) -> Parts:
    """Parts from `common` (args, checkpoint_version, iteration; any may be absent) and one stage.

    `keys` are those of the model, without prefix; `load` gives one's chunks; `described` is the
    file that lists them.
    """
    args = plain_args(common.get("args"))
    sizes = [(args or {}).get(f"{kind}_model_parallel_size") for kind in ("tensor", "pipeline")]
    tensor, pipeline = (n if isinstance(n, int) and n > 0 else 1 for n in sizes)
    virtual = (args or {}).get("virtual_pipeline_model_parallel_size")
    iteration = common.get("iteration")
    table = table_of(keys, args)
    cuts = tensor if _divides(args, tensor) else 1
    stage = stage_of_keys(described, table, keys, load, cuts, contents, findings)
    return Parts(
        source=contents.source,
        family=family,
        era=era,
        serialization=serialization,
        layout=Layout(since_2021=True, deepspeed=False),
        table=table,
        stages=(stage,),
        tensor_parallel=tensor,
        pipeline_parallel=pipeline,
        virtual_pipeline=virtual if isinstance(virtual, int) and virtual > 0 else 1,
        args=args,
        stated_version=common.get("checkpoint_version"),
        iteration=iteration if isinstance(iteration, int) else None,
        findings=findings,
        ignored=tuple(sorted(ignored)),
    )


def _divides(args: Mapping[str, Any] | None, ranks: int) -> bool:
    """Whether chunks may be those of so many ranks, each with whole attention heads."""
    heads = (args or {}).get("num_attention_heads")
    return isinstance(heads, int) and heads % ranks == 0


def one_named(contents: Contents, tail: str) -> str | None:
    """The only file with this last name, or None; `UnknownLayoutError` for several."""
    found = sorted(name for name in contents.files if name.rsplit("/", 1)[-1] == tail)
    if len(found) > 1:
        raise UnknownLayoutError(
            contents.source,
            seen=f"{len(found)} files {tail}: {', '.join(found[:3])}",
            expected="one checkpoint",
            remedy="Keep one iteration, or point at its folder.",
        )
    return found[0] if found else None
