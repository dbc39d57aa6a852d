"""The checkpoint_version and the order of query, key and value rows that follows from it."""

from collections.abc import Mapping
from typing import Any

from megaport.decide import is_number
from megaport.errors import MegaportError
from megaport.table import Decision

KEY = "checkpoint.version"
ORDERS = {0.0: "3,np,hn", 1.0: "np,hn,3", 2.0: "np,3,hn", 3.0: "np,3,hn"}
# Arguments that 51a2e6b of 2020-09-11 or later code brought; that commit also reordered QKV.
LATE_ARGS = (
    "bias_gelu_fusion",
    "bias_dropout_fusion",
    "scaled_upper_triang_masked_softmax_fusion",
    "masked_softmax_fusion",
    "micro_batch_size",
    "tensor_model_parallel_size",
)
WINDOW = (
    "2020-09-11 to 2020-09-28 wrote [np, 3, hn] without a version (set 2), earlier code "
    "[3, np, hn] (set 0)"
)


class UnknownVersionError(MegaportError):
    """A checkpoint_version that no Megatron wrote."""


class AmbiguousVersionError(MegaportError):
    """No checkpoint_version, in a file of a time when more than one QKV order was written."""


def decide_version(
    source: str,
    stated: Any,
    override: float | None,
    args: Mapping[str, Any] | None,
    *,
    since_2021: bool,
    deepspeed: bool = False,
) -> tuple[float | None, Decision]:
    """The version (None where nobody states one) and the QKV order with its reason.

    `since_2021` is what the tensors' names say; layer files of `deepspeed` are of any time.
    `UnknownVersionError` for a version outside 0, 1, 2, 3; `AmbiguousVersionError` where guessing
    could give a silently wrong model.
    """
    if override is not None:
        version = _known(source, override)
        said = "nothing" if stated is None else stated
        return version, _order(ORDERS[version], f"{KEY} is {override}; the file says {said}")
    if stated is not None:
        version = _known(source, stated)
        return version, _order(ORDERS[version], f"checkpoint_version {stated}")
    if since_2021:
        reason = "no version, but these tensor names came after version 2 did"
        return None, _order("np,3,hn", reason)
    return None, _unversioned(source, args, deepspeed)


def _known(source: str, stated: Any) -> float:
    if is_number(stated) and stated in ORDERS:
        return float(stated)
    raise UnknownVersionError(
        f"{source}: checkpoint_version",
        seen=repr(stated),
        expected="0, 1, 2 or 3",
        remedy=f"If you know the order of the QKV rows, set {KEY}.",
    )


def _unversioned(source: str, args: Mapping[str, Any] | None, deepspeed: bool) -> Decision:
    late = [name for name in LATE_ARGS if args and name in args]
    if late or deepspeed:
        raise AmbiguousVersionError(
            f"{source}: order of the QKV rows",
            seen="no checkpoint_version, though "
            + (f"its args ({', '.join(late)}) are" if late else "DeepSpeed layer files are")
            + " from after 2020-09-10",
            expected="a checkpoint_version, which code from 2020-09-29 on writes",
            remedy=f"Set {KEY}: {WINDOW}, 2020-09-29 to 2020-10-11 [np, hn, 3] (set 1).",
        )
    reason = "no checkpoint_version: written before 2020-09-11"
    if args is None:
        reason = f"no checkpoint_version and no args to date it: taken as early. BEWARE: {WINDOW}"
    return _order("3,np,hn", reason)


def _order(order: str, reason: str) -> Decision:
    return Decision("qkv_order", order, reason, KEY)
