"""Hypothesis strategies: layouts with the parallel sizes they can have, and models that fit."""

from typing import Any

from hypothesis import strategies as st

from support.megatron_files import CORE, DIST, LAYOUTS, LEGACY
from support.megatron_model import Model

RANKED = (*LEGACY, *CORE)


@st.composite
def forms(draw: st.DrawFn) -> dict[str, Any]:
    """A layout with parallel sizes it can have, and a model that divides by them."""
    layout = draw(st.sampled_from(LAYOUTS))
    tp = draw(st.sampled_from((1, 2, 4)))
    pp = draw(st.integers(1, 3)) if layout in RANKED else 1
    vp = draw(st.integers(1, 2)) if pp > 1 and layout != "flat" else 1
    counts = draw(st.lists(st.integers(1, 3), min_size=pp * vp, max_size=pp * vp))
    version = {
        "flat": st.just(None),
        "transformer": st.sampled_from((None, 1, 2, 3) if pp == 1 else (2, 3)),
        "encoder": st.sampled_from((2, 3)),
    }.get(layout, st.just(3))
    return {
        "layout": layout,
        "tp": tp,
        "pp": pp,
        "vp": vp,
        "stage_layers": counts,
        "version": draw(version),
        "legacy_serialization": draw(st.booleans()) if layout in RANKED else False,
        "with_args": draw(st.booleans()) if (pp, layout in DIST) == (1, False) else True,
    }


@st.composite
def models(draw: st.DrawFn, form: dict[str, Any]) -> Model:
    """A model of the form's number of layers, in any dtype, untied where that era could be."""
    untied = form["layout"] not in ("flat", "transformer", "bigscience") and draw(st.booleans())
    dtype = draw(st.sampled_from(("F32", "F16", "BF16")))
    return Model(layers=sum(form["stage_layers"]), dtype=dtype, untied=untied)
