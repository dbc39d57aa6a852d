"""The names Megatron's eras gave to one tensor, from its canonical name (formats.md)."""

from megaport.table import split_layer

_CORE = {
    "attention.query_key_value": "self_attention.linear_qkv",
    "attention.dense": "self_attention.linear_proj",
    "mlp.dense_h_to_4h": "mlp.linear_fc1",
    "mlp.dense_4h_to_h": "mlp.linear_fc2",
    "input_layernorm": "input_layernorm",
    "post_attention_layernorm": "pre_mlp_layernorm",
}
_FUSED = {
    "input_layernorm.": "self_attention.linear_qkv.layer_norm_",
    "post_attention_layernorm.": "mlp.linear_fc1.layer_norm_",
}


def layer_leaf(leaf: str, names: str) -> str:
    """`leaf` of a layer in one of: transformer, encoder, input_norm, core, core_te."""
    module, kind = leaf.rsplit(".", 1)
    if names == "core_te" and f"{module}." in _FUSED:
        return _FUSED[f"{module}."] + kind
    if names.startswith("core"):
        return f"{_CORE[module]}.{kind}"
    if names != "transformer" and leaf.startswith("attention."):
        leaf = f"self_{leaf}"
    return leaf.replace("layernorm", "norm") if names == "input_norm" else leaf


def legacy(name: str, names: str, layer: int | None) -> str:
    """The dotted path under `model` in a rank file; `layer` is the number within its stage."""
    place = split_layer(name)
    stack = "transformer" if names in ("transformer", "flat") else "encoder"
    outer = "" if names == "flat" else "language_model."
    if place:
        leaf = layer_leaf(place[1], "transformer" if names == "flat" else names)
        return f"{outer}{stack}.layers.{layer}.{leaf}"
    if name.startswith("final"):
        final = name.replace("layernorm", "norm") if names == "input_norm" else name
        return f"{outer}{stack}.{final}"
    if name == "output_layer.weight":
        return f"{outer}{name}"
    return name if names == "flat" else f"{outer}embedding.{name}"


def core(name: str, names: str, layer: int | None) -> str:
    """The flat key under `model`, in `torch_dist` and in `torch_dcp`; layer None: stacked."""
    place = split_layer(name)
    if place:
        number = "" if layer is None else f"{layer}."
        return f"decoder.layers.{number}{layer_leaf(place[1], names)}"
    if name.startswith("final"):
        return f"decoder.{name}"
    return name if name == "output_layer.weight" else f"embedding.{name}"
