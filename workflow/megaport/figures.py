"""How every picture is drawn: one SVG, legible on light and dark pages, the same bytes always."""

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Drawn in this colour, written as the colour of the text around the picture.
INK = "#010203"
# Colours of data, at least 3:1 on white and on near-black (WCAG 2.1, 1.4.11).
BLUE, ORANGE, GREEN, RED = "#3b82c4", "#d1701f", "#2f9e6e", "#d9534f"
STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "figure.figsize": (5.0, 3.4),  # text stays legible on a page of 400 pixels
    "figure.constrained_layout.use": True,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=[BLUE, ORANGE, GREEN, RED]),
    "grid.alpha": 0.25,
    "legend.frameon": False,
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK
    ),
    "grid.color": INK,
}


def draw(path: Path, title: str, paint: Callable[[Axes], None]) -> None:
    """Write the SVG `path`: what `paint` draws on the axes, under a `title` that says what is seen.

    The background is transparent and text takes the colour of the page that embeds the picture.
    """
    # Element ids differ between pictures, so that a page may embed several.
    with mpl.rc_context({**STYLE, "svg.hashsalt": path.stem}):
        figure = Figure()
        axes = figure.subplots()
        axes.set_title(title, wrap=True)
        paint(axes)
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(path, format="svg", transparent=True, metadata=nothing)
    path.write_text(_for_pages(path.read_text(encoding="utf-8"), title), encoding="utf-8")


def _for_pages(svg: str, title: str) -> str:
    words = html.escape(title)
    svg = re.sub(r"<\?xml.*?<svg ", '<svg role="img" ', svg, count=1, flags=re.DOTALL)
    svg = re.sub(r"(<svg [^>]*>)", rf"\1\n <title>{words}</title>", svg, count=1)
    svg = svg.replace("'DejaVu Sans'", "'DejaVu Sans', system-ui, sans-serif")
    return svg.replace(INK, "currentColor")
