"""Two pictures: each difference as a share of its limit, by block and by position."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from megaport.figures import INK, draw
from megaport.parity.comparison import BlockDifference
from megaport.tensors import Array

# A logarithmic axis has no zero: embeddings often agree exactly. Shares below are drawn here.
SMALLEST = 1e-4


def plot_blocks(blocks: Sequence[BlockDifference], out: Path) -> None:
    """out/layers.svg: every block, given the converted model's own input to it."""
    shares = {block.name: block.difference / block.limit for block in blocks}
    title = f"Every layer agrees: the largest difference is {_share(max(shares.values()))}"
    first = next((block.name for block in blocks if not block.agrees), None)
    if first:
        title = f"The first to differ is {first}: by {_share(shares[first])}"
    draw(out / "layers.svg", title, partial(_paint_blocks, shares))


def plot_positions(shares: Mapping[str, Array], out: Path) -> None:
    """out/positions.svg: the largest difference of the logits at each position, by input [S]."""
    largest = max(float(np.max(values)) for values in shares.values())
    verdict = "Logits agree at every position" if largest <= 1 else "Logits differ"
    title = f"{verdict}: the largest difference is {_share(largest)}"
    draw(out / "positions.svg", title, partial(_paint_positions, shares))


def _paint_blocks(shares: Mapping[str, float], axes: Axes) -> None:
    axes.plot(range(len(shares)), _shown(list(shares.values())), "o", clip_on=False)
    axes.set_xticks(*zip(*_labels(list(shares)), strict=True))
    axes.set_xlabel("embedding, layers by number, final norm, head")
    _share_axis(axes)


def _labels(names: Sequence[str]) -> Iterator[tuple[int, str]]:
    """The ends by name, the layers between by number, as many as can be read."""
    every = max(1, len(names) // 8)
    yield 0, "in"
    for place in range(1 if every == 1 else 1 + every, len(names) - every, every):
        yield place, names[place].split()[-1]
    yield len(names) - 1, "head"


def _paint_positions(shares: Mapping[str, Array], axes: Axes) -> None:
    for name, values in shares.items():
        axes.plot(_shown(values), ".", markersize=3, label=name)
    axes.set_xlabel("position in the context")
    axes.legend(loc="lower right", markerscale=4)
    _share_axis(axes)


def _shown(shares: Sequence[float] | Array) -> Array:
    shown: Array = np.maximum(np.nan_to_num(np.asarray(shares, float), nan=np.inf), SMALLEST)
    return shown


def _share_axis(axes: Axes) -> None:
    """A logarithmic axis of shares in plain numbers, and the limit's line with its name."""
    axes.set_yscale("log")
    axes.set_ylim(bottom=SMALLEST, top=max(10.0, axes.get_ylim()[1]))
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: _tick(value))
    axes.set_ylabel("difference, as a share of its limit")
    axes.axhline(1.0, color=INK, linewidth=1)
    above: Any = {"xytext": (0, 3), "textcoords": "offset points", "ha": "right"}
    axes.annotate("limit", (1.0, 1.0), xycoords=("axes fraction", "data"), **above)


def _tick(value: float) -> str:
    if value > 1:
        return f"{value:,.0f} times"
    return f"1/{1 / value:,.0f}" if value < 1 else "all of it"


def _share(share: float) -> str:
    if not np.isfinite(share):
        return "more than a number can say"
    if share > 1:
        return f"{share:,.0f} times its limit"
    return f"{share:.0%} of its limit" if share >= 0.01 else "less than 1% of its limit"
