"""The sampler: the distribution it draws from, its limits, and where its numbers come from."""

import pytest
import torch

from megaport.generate.sampling import Sampling, choose, uniforms

LOGITS = torch.log(torch.tensor([[0.1, 0.4, 0.2, 0.3]]))


def _draw(sampling: Sampling, count: int = 4000) -> torch.Tensor:
    rows = LOGITS.expand(count, -1)
    tokens, _ = choose(rows, sampling, uniforms(range(count), 1)[0])
    return torch.bincount(tokens, minlength=4) / count


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(False), [0.1, 0.4, 0.2, 0.3]),
        (Sampling(False, temperature=0.5), [1 / 30, 16 / 30, 4 / 30, 9 / 30]),
        (Sampling(False, top_k=2), [0, 4 / 7, 0, 3 / 7]),
        (Sampling(False, top_k=9), [0.1, 0.4, 0.2, 0.3]),
        (Sampling(False, top_p=0.6), [0, 4 / 7, 0, 3 / 7]),
        (Sampling(False, top_p=0.3), [0, 1, 0, 0]),
        (Sampling(False, top_k=3, top_p=0.99), [0, 4 / 9, 2 / 9, 3 / 9]),
    ],
)
def test_tokens_come_as_often_as_they_should(sampling: Sampling, expected: list[float]) -> None:
    assert _draw(sampling) == pytest.approx(torch.tensor(expected), abs=0.03)


def test_greedy_is_the_largest_logit() -> None:
    ids, finite = choose(LOGITS, Sampling(), torch.zeros(1))
    assert (ids.tolist(), finite.tolist()) == ([1], [True])


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(False, top_k=2)])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_one_logit_that_is_not_finite_is_noticed_in_its_row(sampling: Sampling, bad: float) -> None:
    logits = torch.cat([LOGITS, LOGITS])
    logits[1, 2] = bad
    assert choose(logits, sampling, torch.zeros(2))[1].tolist() == [True, False]


@pytest.mark.parametrize("draw", [0.0, 1.0 - 2**-24])
def test_the_ends_of_the_uniform_are_tokens_that_may_come(draw: float) -> None:
    kept = {1, 3}
    sampling = Sampling(False, top_p=0.6)
    assert int(choose(LOGITS, sampling, torch.tensor([draw]))[0]) in kept


def test_a_row_of_uniforms_depends_on_its_seed_alone() -> None:
    both = uniforms([3, 4], 5)
    assert both.shape == (5, 2)
    assert torch.equal(both[:, 1:], uniforms([4], 5))
    assert not torch.equal(both[:, 0], both[:, 1])
