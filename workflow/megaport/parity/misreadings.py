"""Wrong readings of a checkpoint, as functions from a right one.

Each takes a subject and the number of the layer that is about to run, and returns a subject whose
reference makes the mistake there. Only elements move; no weight is changed.
"""

from collections.abc import Callable, Sequence

import numpy as np

from megaport.parity.inverse import VOCABULARY
from megaport.parity.subject import Subject
from megaport.tensors import Array, Tensor

Misreading = Callable[[Subject, int], Subject]
QKV = "attention.query_key_value"
LINEAR = (QKV, "attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h")
ROW_PARALLEL = ("attention.dense", "mlp.dense_4h_to_h")
NORMS = ("input_layernorm", "post_attention_layernorm")


def architecture(field: str, value: object) -> Misreading:
    """Another value of one of the architecture's fields."""
    return lambda subject, layer: subject.with_architecture(**{field: value})


def qkv_order(order: str) -> Misreading:
    """Another row order of query_key_value."""
    return lambda subject, layer: subject.with_tensors({}, qkv_order=order)


def norms_swapped(subject: Subject, layer: int) -> Subject:
    """Each of the layer's two LayerNorms in the other's place."""
    tensors = subject.checkpoint.tensors
    pairs = [(NORMS, kind) for kind in ("weight", "bias")]
    pairs += [((NORMS[1], NORMS[0]), kind) for kind in ("weight", "bias")]
    changed = {
        f"layers.{layer}.{to}.{kind}": tensors[f"layers.{layer}.{source}.{kind}"]
        for (to, source), kind in pairs
    }
    return subject.with_tensors(changed)


def layers_swapped(first: int, second: int) -> Misreading:
    """Layer `first` runs with the weights of `second` and the other way round."""

    def apply(subject: Subject, layer: int) -> Subject:
        if layer not in (first, second):
            return subject
        prefix, other = f"layers.{layer}.", f"layers.{first + second - layer}."
        tensors = subject.checkpoint.tensors
        changed = {
            name: tensors[other + name.removeprefix(prefix)]
            for name in tensors
            if name.startswith(prefix)
        }
        return subject.with_tensors(changed)

    return apply


def ranks_swapped(part: str, first: int, second: int) -> Misreading:
    """Two ranks' shards exchanged in every split tensor whose name contains `part`."""

    def apply(subject: Subject, layer: int) -> Subject:
        changed = {}
        for name, shards in subject.checkpoint.tensors.items():
            if part in name and len(shards) > 1:
                order = list(shards)
                order[first], order[second] = order[second], order[first]
                changed[name] = tuple(order)
        return subject.with_tensors(changed)

    return apply


def joined_first(subject: Subject, layer: int) -> Subject:
    """All ranks' query_key_value rows taken for one rank's."""
    return subject.with_tensors(_joined(subject, layer, lambda rows, _: np.concatenate(rows)))


def untransposed(part: str) -> Misreading:
    """`part`'s weight [out, in] laid down as the converted [in, out] without being transposed."""

    def apply(subject: Subject, layer: int) -> Subject:
        changed = _joined(subject, layer, _heads_joined)
        name = f"layers.{layer}.{part}.weight"
        (weight,) = changed[name]
        laid = np.ascontiguousarray(weight.array).reshape(weight.array.T.shape)
        changed[name] = (Tensor(weight.dtype, laid.T),)
        return subject.with_tensors(changed, qkv_order="3,np,hn")

    return apply


def vocabulary_shifted(by: int) -> Misreading:
    """Row i of the embedding and of the head taken from row i + `by`."""

    def apply(subject: Subject, layer: int) -> Subject:
        held = subject.checkpoint.tensors
        return subject.with_tensors({n: _rolled(held[n], -by) for n in VOCABULARY if n in held})

    return apply


def positions_shifted(subject: Subject, layer: int) -> Subject:
    """Position i given the embedding of position i + 1."""
    name = "position_embeddings.weight"
    return subject.with_tensors({name: _rolled(subject.checkpoint.tensors[name], -1)})


def _rolled(shards: Sequence[Tensor], by: int) -> tuple[Tensor, ...]:
    rows = np.concatenate([shard.array for shard in shards])
    return (Tensor(shards[0].dtype, np.roll(rows, by, axis=0)),)


def _joined(
    subject: Subject, layer: int, join_rows: Callable[[list[Array], Subject], Array]
) -> dict[str, tuple[Tensor, ...]]:
    """The layer's split tensors as one rank would hold them; `join_rows` joins query_key_value."""
    changed: dict[str, tuple[Tensor, ...]] = {}
    for part in LINEAR:
        for kind in ("weight", "bias"):
            name = f"layers.{layer}.{part}.{kind}"
            shards = subject.checkpoint.tensors[name]
            arrays = [shard.array for shard in shards]
            if part == QKV:
                whole = join_rows(arrays, subject)
            elif len(arrays) == 1:
                whole = arrays[0]
            else:
                whole = np.concatenate(arrays, axis=1 if part in ROW_PARALLEL else 0)
            changed[name] = (Tensor(shards[0].dtype, whole),)
    return changed


def _heads_joined(rows: list[Array], subject: Subject) -> Array:
    """Every rank's rows undone to [3, heads, head size], then joined over the heads."""
    axes = subject.checkpoint.qkv_order.split(",")
    heads = subject.architecture.n_head // len(rows)
    sizes = {"3": 3, "np": heads, "hn": len(rows[0]) // 3 // heads}
    undone = []
    for array in rows:
        split = array.reshape(*(sizes[axis] for axis in axes), *array.shape[1:])
        undone.append(np.moveaxis(split, [axes.index(a) for a in sizes], [0, 1, 2]))
    return np.concatenate(undone, axis=1).reshape(-1, *rows[0].shape[1:])
