"""A configuration in YAML beside a model, such as NeMo's: as JSON data, by Megatron's names."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import yaml

from megaport.checkpoint.records import Record
from megaport.checkpoint.regions import Region
from megaport.errors import MegaportError, encodable, shown_text

# NeMo's have 20 kB; PyYAML reads 0.1 MB a second.
_MOST_BYTES, _MOST_CHARACTERS = 1 << 17, 1 << 20
_MOST_BITS, _MOST_DEPTH = 256, 8
# What PyYAML raises: its own errors, and those of Python for scalars of a tag that they do not fit.
_NOT_YAML = (
    yaml.YAMLError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
# Where NeMo 2.0 and Megatron-Bridge state the model, and NeMo 1.x: the file, and the key in it.
_STATED = (
    ("run_config.yaml", "model"),
    ("context/model.yaml", "config"),
    ("model.yaml", "config"),
    ("model_config.yaml", None),
    ("hparams.yaml", None),
)
# What NeMo and Megatron-Bridge call otherwise than Megatron's arguments.
_RENAMED = {
    "bias_activation_fusion": "bias_gelu_fusion",
    "seq_len_interpolation_factor": "rotary_seq_len_interpolation_factor",
    "rotary_percentage": "rotary_percent",
    "scale_factor": "rope_scaling_factor",
}
# The values that are functions or dtypes, written as {_target_: name}, and change the mathematics.
_NAMED = ("activation_func", "params_dtype")


class BadConfigurationError(MegaportError):
    """A YAML file that is damaged, or asks for more than a configuration needs."""


_bad = partial(
    BadConfigurationError,
    expected=f"a mapping in YAML of at most {_MOST_BYTES} bytes",
    remedy="Get the file again, or unpack the checkpoint and correct it.",
)


def stated_beside(
    facts: Mapping[str, Region], where: str, hyper_parameters: Any
) -> tuple[str, dict[str, Any]] | None:
    """Who states the model that has no args, and its arguments; None where nobody does.

    Lightning's `hyper_parameters` in the file `where`, else a file of NeMo or Megatron-Bridge.
    """
    said = plain_configuration(where, hyper_parameters)
    if said and isinstance(said, dict):
        return "hyper_parameters", _nemo_args(said)
    for name, key in _STATED:
        config = read_yaml(facts[name]) if name in facts else {}
        if key is None and config:
            return name, _nemo_args(config)
        if key and isinstance(config.get(key), dict):
            return name, megatron_args(config[key])
    return None


def _nemo_args(config: Mapping[str, Any]) -> dict[str, Any]:
    """Of NeMo 1.x, which fuses the GELU where nothing is said (megatron_gpt_config.yaml)."""
    cfg = config["cfg"] if isinstance(config.get("cfg"), dict) else config
    args = megatron_args(cfg)
    args["apply_layernorm_1p"] = args.get("normalization") == "layernorm1p"
    return {"bias_gelu_fusion": True} | args


def megatron_args(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration of NeMo or Megatron-Bridge by the names of Megatron's arguments."""
    args = {key: value for key, value in config.items() if not isinstance(value, dict)}
    args |= {
        name: config[name].get("_target_") for name in _NAMED if isinstance(config.get(name), dict)
    }
    # Only their classes of Llama 3.1 have the factor, and always scale by it.
    scaled = ("rope_scaling", "scale_factor", "scale_positional_embedding")
    args["use_rope_scaling"] = any(args.get(name) for name in scaled)
    args |= {ours: args.pop(theirs) for theirs, ours in _RENAMED.items() if theirs in args}
    args["group_query_attention"] = args.get("num_query_groups") is not None
    if "share_embeddings_and_output_weights" in args:
        shared = args["share_embeddings_and_output_weights"]
        args["untie_embeddings_and_output_weights"] = not shared
    return args


def read_yaml(region: Region) -> dict[str, Any]:
    """What the file says, by key; dates, sets and whatever else JSON lacks are None.

    Raises `BadConfigurationError` for what is no mapping in YAML, or too large, also when what its
    aliases share is written out.
    """
    if region.size > _MOST_BYTES:
        raise _bad(region.name, f"{region.size} bytes")
    try:
        said = yaml.safe_load(bytes(region.view).decode("utf-8"))
    except _NOT_YAML as error:
        raise _bad(region.name, shown_text(str(error), 160)) from None
    if not isinstance(said, dict):
        raise _bad(region.name, shown_text(said))
    return dict(plain_configuration(region.name, said))


def plain_configuration(where: str, value: Any) -> Any:
    """What JSON has of it, OmegaConf's containers as plain ones; None for all else.

    Raises `BadConfigurationError` for more than a configuration needs, said in the name of `where`.
    """
    try:
        return _written_out(value, [0])
    except (ValueError, RecursionError) as error:
        raise _bad(where, shown_text(str(error), 160)) from None


def _written_out(value: Any, spent: list[int], depth: int = 0) -> Any:
    """`spent` counts characters, `depth` Records around it: one may contain itself."""
    spent[0] += 8 + (len(value) if isinstance(value, str) else 0)
    if spent[0] > _MOST_CHARACTERS:
        raise ValueError(f"over {_MOST_CHARACTERS} characters, shared parts written out")
    if isinstance(value, Record):
        held = value.state if isinstance(value.state, dict) else value.contents
        inner = held.get("_content", held.get("_val", held)) if isinstance(held, dict) else held
        return _written_out(inner, spent, depth + 1) if depth < _MOST_DEPTH else None
    if isinstance(value, dict):
        return {encodable(str(k)): _written_out(v, spent, depth) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_written_out(item, spent, depth) for item in value]
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return None
    return value if isinstance(value, bool | int | float) else None
