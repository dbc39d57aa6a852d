"""What args, names and bytes say of where a tensor belongs, held against each other.

Nothing here is needed to read a checkpoint of which every file is in its place: it finds those of
which one is not, and reports it. What no file can tell stands in docs/how-it-works/formats.md.
"""

from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from megaport.checkpoint.arguments import FLAGS, mathematical
from megaport.checkpoint.bits import is_constant, same_bits
from megaport.checkpoint.contents import Contents, plain_args
from megaport.checkpoint.model import TORCH_DCP, Findings, Parts, Shards
from megaport.checkpoint.storages import DTYPES
from megaport.checkpoint.version import LATE_ARGS
from megaport.decide import ZERO_CENTRED
from megaport.errors import shown_text
from megaport.table import HEAD_COPY, WORD, Decision, Table, split_layer
from megaport.tensors import Tensor, widen

_PROBE = 64  # elements by which two matrices are taken to be worth comparing
Place = tuple[int, int]  # (tensor rank, pipeline rank)
# Arguments of 52a5f2f (2020-10-20) in NVIDIA/Megatron-LM, which wrote version 2 since 2020-10-12.
_AFTER_VERSION_1 = ("tensor_model_parallel_size", "pipeline_model_parallel_size")


def check_ranks(contents: Contents, files: Mapping[Place, str], table: Table) -> None:
    """Report what ranks of one save say differently, and files that another rank wrote."""
    check_agreement(contents, files.values(), table)
    args = {place: plain_args(contents.state(f).get("args")) or {} for place, f in files.items()}
    stated = {place: said.get("rank") for place, said in args.items()}
    _check_order(stated, files, contents.findings)


def check_agreement(contents: Contents, files: Iterable[str], table: Table) -> None:
    """Report what files of one save say of the model or its training that the first does not."""
    first, *others = files
    ours = _facts(contents.state(first), table)
    for name in others:
        theirs = _facts(contents.state(name), table)
        for key in sorted({*ours, *theirs}):
            if ours.get(key) != theirs.get(key):
                seen = f"{theirs.get(key)}, but {ours.get(key)} in {first}"
                contents.findings.report("ranks disagree", key, f"in {name}: {seen}")


def _facts(state: Mapping[str, Any], table: Table) -> dict[str, Any]:
    args = plain_args(state.get("args")) or {}
    facts = plain_args({key: state.get(key) for key in ("iteration", "checkpoint_version")}) or {}
    return facts | {f"args.{key}": value for key, value in mathematical(table, args).items()}


def _check_order(
    stated: Mapping[Place, Any], files: Mapping[Place, str], findings: Findings
) -> None:
    """Report files whose `args.rank` is another's: tensor ranks count fastest, then data's.

    Converters leave the same rank in all files, which says nothing.
    """
    ranks = [rank for rank in stated.values() if type(rank) is int]
    if len(ranks) < len(stated) or len(set(ranks)) == 1:
        return
    size = max(tp for tp, _ in stated) + 1
    for place, name in files.items():
        tensor, pipeline = place
        before = stated.get((tensor, pipeline - 1), -1)
        if stated[place] % size != tensor or stated[place] <= before:
            said = f"args.rank is {stated[place]}"
            findings.report("another rank's file", name, f"{said}, unlike its place {place}")


def check_stages(parts: Parts, findings: Findings) -> None:
    """Report tensors of the first pipeline stage in a later one, and of the last in an earlier."""
    stages, table = parts.stages, parts.table
    first = {row.megatron for row in table.first}
    last = {row.megatron for row in (*table.last, table.head)} | {HEAD_COPY}
    for stage in stages:
        for name in stage.tensors:
            # The last stage may keep a copy of the word embedding.
            copied = name == WORD and stage is stages[-1] and name in stages[0].tensors
            if name in first and stage is not stages[0] and not copied:
                findings.report("out of place", name, f"in {stage.source}, not the first stage")
            if name in last and stage is not stages[-1]:
                findings.report("out of place", name, f"in {stage.source}, not the last stage")


def check_copies(table: Table, tensors: Mapping[str, Shards], findings: Findings) -> None:
    """Report matrices that two ranks, layers or names hold alike: one's file was copied over.

    Numbers that were trained never are; one number all over, as zeros are, says nothing.
    """
    seen: dict[tuple[str, int, bytes], tuple[str, Tensor]] = {}
    for name, shards in tensors.items():
        row, place = table.row(name), split_layer(name)
        if row.axis is None or len(row.megatron_shape) < 2:
            continue
        for number, shard in enumerate(shards):
            where = f"{name}, rank {number // row.parts}" if len(shards) > row.parts else name
            # In a layer whatever the shape: files of chunks hold nothing but elements.
            array = shard.array.reshape(-1) if shard.array.flags.c_contiguous else shard.array
            flat = Tensor(shard.dtype, array)
            probe = array[:1].reshape(-1)[:_PROBE] if array.ndim > 1 else array[:_PROBE]
            key = ("" if place else name, array.size, probe.tobytes())
            first, held = seen.setdefault(key, (where, flat))
            if held is not flat and same_bits(held, flat) and not is_constant(flat):
                findings.report("the same twice", where, f"bit-equal to {first}")


def constant_weights(
    table: Table, tensors: Mapping[str, Shards], args: Mapping[str, Any] | None
) -> list[Decision]:
    """Matrices that are one number all over, and norms of zeros: never trained, or lost."""
    centred = any((args or {}).get(name) for name in ZERO_CENTRED)
    found: dict[str, str] = {}
    for name, shards in tensors.items():
        row = table.row(name)
        for shard in shards:
            first = shard.array.reshape(-1)[:1]
            lost = len(row.megatron_shape) > 1 or (
                row.is_norm_scale and not centred and not first.any()
            )
            if lost and is_constant(shard):
                found[name] = f"{widen(Tensor(shard.dtype, first))[0]} all over"
    reason = "ATTENTION: every number of them is the same: never trained, or lost on the way"
    return [Decision("constant weights", found, f"{reason}: taken as they are")] if found else []


def check_statements(
    parts: Parts, tensors: Mapping[str, Shards], findings: Findings, *, overridden: bool
) -> None:
    """Report what args and names say of the tensors that is not so."""
    args = parts.args or {}
    if not overridden and (seen := _unlike_version(parts, args)):
        findings.report("checkpoint_version disagrees", shown_text(parts.stated_version), seen)
    for name in FLAGS:
        if args.get(name) not in (None, False, True):
            findings.report("args disagree", name, f"{shown_text(args[name])}: neither yes nor no")
    norm, layernorm = args.get("norm_epsilon"), args.get("layernorm_epsilon")
    if norm != layernorm and None not in (norm, layernorm):
        findings.report("args disagree", "norm_epsilon", f"{norm}, layernorm_epsilon {layernorm}")
    _check_dtype(parts, tensors, findings)
    virtual = args.get("virtual_pipeline_model_parallel_size") or 1
    if parts.virtual_pipeline != virtual and type(virtual) is int:
        seen = f"{virtual}, but files hold {parts.virtual_pipeline}"
        findings.report("args disagree", "virtual_pipeline_model_parallel_size", seen)


def _unlike_version(parts: Parts, args: Mapping[str, Any]) -> str | None:
    """Why code that wrote such names and args wrote another version than the one that is stated."""
    version = parts.stated_version
    later = [f"args.{name}" for name in _AFTER_VERSION_1 if name in args]
    if parts.since_2021:
        later.append("names from 2021 on")
    if later and version in (0, 1):
        return f"{later[-1]} came with rows [heads, 3, head size]: version 2 or 3"
    late = [f"args.{name}" for name in LATE_ARGS if name in args]
    if late and version == 0:
        return f"{late[0]} came after rows [3, heads, head size] had gone"
    if version and not late and "model_parallel_size" in args and not parts.since_2021:
        return f"args without {LATE_ARGS[0]} are of before 2020-09-11, which wrote no version"
    return None


def _check_dtype(parts: Parts, tensors: Mapping[str, Shards], findings: Findings) -> None:
    """Of the layers' matrices, in two bytes: float16 and bfloat16 are taken for one another.

    That people rounded to BF16 or widened afterwards is seen; FSDP keeps the optimizer's copy.
    """
    stated = (parts.args or {}).get("params_dtype")
    dtype = DTYPES.get(str(stated))
    held = {
        shard.dtype
        for name, shards in tensors.items()
        if split_layer(name) and len(parts.table.row(name).megatron_shape) > 1
        for shard in shards
    }
    if dtype is None or parts.family.value == TORCH_DCP:
        return
    if ("F16" in held and dtype != "F16") or ("BF16" in held and dtype == "F16"):
        seen = f"{stated}, but matrices of the layers are {', '.join(sorted(held))}"
        findings.report("args disagree", "params_dtype", seen)


def check_iteration(contents: Contents, parts: Parts) -> None:
    """Report a folder that is called after another iteration than the file's."""
    for name in (PurePath(contents.source).name, PurePath(contents.files.folder).name):
        digits = name.removeprefix("iter_").removeprefix("global_step")
        named = digits.isascii() and digits.isdigit() and digits != name
        if named and parts.iteration is not None and int(digits[:12]) != parts.iteration:
            seen = f"iteration {parts.iteration} inside"
            contents.findings.report("folder disagrees", name, seen)
