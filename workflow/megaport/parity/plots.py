"""Two pictures: divergence by layer, logits of one side against the other. Same bytes always."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from megaport.parity.profile import LayerDivergence
from megaport.tensors import Array

# Fixed ids in the SVG, text as text, and no dates or versions in either file.
SETTINGS: Any = {"svg.hashsalt": "megaport", "svg.fonttype": "none", "font.family": "DejaVu Sans"}
METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}
# A logarithmic axis has no zero: embeddings often agree exactly.
SMALLEST = 1e-9


def plot_layers(layers: Sequence[LayerDivergence], out: Path) -> None:
    """out/layers.{svg,png}: difference after each layer beside what rounding alone does."""
    figure, axes = _figure("After each layer: converted model against the reference")
    x = range(len(layers))
    differences = [max(layer.difference, SMALLEST) for layer in layers]
    roundings = [max(layer.rounding, SMALLEST) for layer in layers]
    axes.semilogy(x, differences, "o-", label="converted model against reference")
    axes.semilogy(x, roundings, "s--", label="reference, float32 against float64")
    axes.set_xlabel("layers passed (0: embeddings)")
    axes.set_ylabel("largest difference of hidden states")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    _save(figure, out / "layers")


def plot_logits(points: Mapping[str, Array], out: Path) -> None:
    """out/logits.{svg,png}: a sample of logits, reference [0] across and converted [1] up."""
    figure, axes = _figure("Logits: on the diagonal both sides agree")
    for name, (reference, converted) in points.items():
        axes.plot(reference, converted, ".", markersize=2, label=name, rasterized=True)
    low, high = axes.get_xlim()
    axes.plot([low, high], [low, high], "-", linewidth=0.5, color="black", zorder=0)
    axes.set_xlabel("reference (Megatron's mathematics in NumPy)")
    axes.set_ylabel("GPT2LMHeadModel, float32")
    axes.legend(markerscale=5)
    _save(figure, out / "logits")


def _figure(title: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(6.4, 4.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.grid(alpha=0.3)
    return figure, axes


def _save(figure: Figure, stem: Path) -> None:
    with mpl.rc_context(SETTINGS):
        for kind, metadata in METADATA.items():
            figure.savefig(stem.with_suffix(f".{kind}"), metadata=metadata)
