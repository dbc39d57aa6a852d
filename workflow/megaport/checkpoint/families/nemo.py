"""NeMo 1.x: `.nemo` archives and Lightning's `.ckpt`, whose names are Megatron's below `model.`.

The sizes stand in model_config.yaml, or in hyper_parameters of a `.ckpt`. Rows of query, key and
value are [heads, 3, head size]. Read from the layouts that NeMo's sources write.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from megaport.checkpoint.architecture import table_of
from megaport.checkpoint.configuration import megatron_args, plain_configuration, read_yaml
from megaport.checkpoint.contents import Contents, flatten
from megaport.checkpoint.evidence import check_agreement
from megaport.checkpoint.families.names import stage_of, weights_beside
from megaport.checkpoint.families.rank_files import Ranks, first_state, load_ranks
from megaport.checkpoint.model import NEMO, Parts, Stage
from megaport.table import Decision, Table

_NAME = re.compile(r"model\.(module\.)*(language_model\.|embedding\.|decoder\.)")
_CONFIGS = ("model_config.yaml", "hparams.yaml")
STACKS = ("encoder", "decoder")
# What NeMo takes where nothing is said (megatron_gpt_config.yaml).
_DEFAULTS = {"bias_activation_fusion": True}


def recognise(contents: Contents) -> Decision | None:
    """That these are NeMo's files, or None."""
    if not any(_NAME.match(str(name)) for name in _model(first_state(contents))):
        return None
    where = "model.language_model, model.embedding or model.decoder"
    return Decision("family", NEMO, f"tensors stand below {where}")


def read(contents: Contents, family: Decision) -> Parts:
    """The rank files' tensors, stage by stage."""
    first = first_state(contents)
    table = table_of(name for name, _ in flatten(_model(first)))
    args = _args(contents, first)
    ranks = load_ranks(contents, table, args)
    check_agreement(contents, ranks.files.values(), table)
    for name in ranks.files.values():
        state = contents.state(name)
        beside = weights_beside(state, ("state_dict",)) if "state_dict" in state else ()
        for tensor in beside:
            contents.findings.report("extra", tensor, f"beside the model in {name}")
    core = any(".decoder." in str(name) for name in _model(first))
    others = [str(key) for key in first if key != "state_dict"] if _has_dict(first) else []
    return Parts(
        family=family,
        era=f"2021 to 2024: NeMo 1.x, {'Megatron core' if core else 'its own'} model",
        serialization=contents.serialization(ranks.files[0, 0]),
        table=table,
        stages=tuple(_stages(contents, ranks, table)),
        tensor_parallel=ranks.tensor,
        pipeline_parallel=ranks.pipeline,
        args=args or None,
        stated_version=None,
        stated_iteration=first.get("global_step"),
        ignored=tuple(sorted(others)),
    )


def _has_dict(state: Mapping[str, Any]) -> bool:
    return isinstance(state.get("state_dict"), dict)


def _model(state: Mapping[str, Any]) -> dict[str, Any]:
    """A Lightning checkpoint's model, or the file itself, which is one in an archive."""
    return dict(state["state_dict"] if _has_dict(state) else state)


def _stages(contents: Contents, ranks: Ranks, table: Table) -> Iterator[Stage]:
    for pipeline in range(ranks.pipeline):
        files = [ranks.files[tensor, pipeline] for tensor in range(ranks.tensor)]
        trees = [_model(contents.state(file)) for file in files]
        yield stage_of(contents, files, trees, table, STACKS)


def _args(contents: Contents, state: Mapping[str, Any]) -> dict[str, Any]:
    """NeMo's configuration by Megatron's names; `{}` where there is none."""
    said = [contents.files.facts[name] for name in _CONFIGS if name in contents.files.facts]
    config: Any = plain_configuration(contents.source, state.get("hyper_parameters"))
    if said and not config:
        config = read_yaml(said[0])
    if isinstance(config, dict) and isinstance(config.get("cfg"), dict):
        config = config["cfg"]
    if not isinstance(config, dict) or not config:
        return {}
    args = megatron_args({**_DEFAULTS, **config})
    args["apply_layernorm_1p"] = args.get("normalization") == "layernorm1p"
    return args
