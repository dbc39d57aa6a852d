"""block.cpp against the same layer by torch in float64: odd sizes, both GELUs, padded rows."""

import pytest
import torch

from megaport.generate.engines import linear, native
from megaport.generate.engines.block import Block, DecodeStep
from megaport.generate.model_files import Shape

CLOSE = {torch.float32: 1e-5, torch.bfloat16: 5e-2}
SLOTS, SPAN, SLOT = 40, 23, 22


def _shape(hidden: int, heads: int, inner: int, gelu: str) -> Shape:
    sizes = {"hidden": hidden, "heads": heads, "inner": inner, "gelu": gelu, "epsilon": 1e-5}
    return Shape(
        **sizes, layers=1, positions=64, vocabulary=9, tied=True, bos=0, eos=0, weights=0, keys=0
    )


@pytest.mark.skipif(not native.compiler(), reason="no C++ compiler here")
@pytest.mark.parametrize("dtype", CLOSE, ids=str)
@pytest.mark.parametrize("rows", [1, 6, linear.FEW_ROWS])
@pytest.mark.parametrize(
    ("hidden", "heads", "inner", "gelu"), [(160, 5, 640, "tanh"), (66, 3, 1100, "none")]
)
def test_a_block_is_what_torch_computes_in_float64(
    dtype: torch.dtype, rows: int, hidden: int, heads: int, inner: int, gelu: str
) -> None:
    seeded = torch.Generator().manual_seed(rows)

    def drawn(*size: int, scale: float = 1.0) -> torch.Tensor:
        return (torch.randn(size, generator=seeded) * scale).to(dtype)

    sizes = [(3 * hidden, hidden), (hidden, hidden), (inner, hidden), (hidden, inner)]
    qkv, out, up, down = [(drawn(*s, scale=s[1] ** -0.5), drawn(s[0])) for s in sizes]
    norm1, norm2 = (drawn(hidden), drawn(hidden)), (drawn(hidden), drawn(hidden))
    x, cache = (
        torch.randn(rows, hidden, generator=seeded),
        drawn(rows, 2, heads, SLOTS, hidden // heads),
    )
    mask = torch.zeros(rows, 1, 1, SLOTS, dtype=dtype)
    for row in range(rows):
        mask[row, ..., : row % (SPAN - 1)] = -torch.inf
    wanted, stored = x.double(), cache.double()
    wide = [t.double() for t in (*norm1, *qkv, *out, *norm2, *up, *down)]
    made = torch.nn.functional.linear(_normed(wanted, *wide[:2]), *wide[2:4])
    split = made.view(rows, 3, heads, -1)
    stored[:, :, :, SLOT] = split[:, 1:]
    mixed = torch.nn.functional.scaled_dot_product_attention(
        split[:, 0, :, None],
        stored[:, 0, :, :SPAN],
        stored[:, 1, :, :SPAN],
        attn_mask=mask[..., :SPAN].double(),
    ).reshape(rows, hidden)
    wanted = wanted + torch.nn.functional.linear(mixed, *wide[4:6])
    inside = torch.nn.functional.linear(_normed(wanted, *wide[6:8]), *wide[8:10])
    inside = torch.nn.functional.gelu(inside, approximate=gelu)
    wanted = wanted + torch.nn.functional.linear(inside, *wide[10:])

    step = DecodeStep(_shape(hidden, heads, inner, gelu), rows, SLOTS, dtype)
    step.at(SLOT, mask[..., :SPAN])
    Block([*norm1, *qkv, *out, *norm2, *up, *down])(step, x, cache, mask)
    close = {"rtol": CLOSE[dtype], "atol": CLOSE[dtype]}
    torch.testing.assert_close(x.double(), wanted, **close)
    torch.testing.assert_close(cache.double(), stored, **close)


def _normed(x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.layer_norm(x, scale.shape, scale, shift)
