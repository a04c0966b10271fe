"""Drawing under a watermark of which few tokens are asked: the distribution that its mark on all logits gives."""

import numpy as np
import pytest
import torch
from scipy import stats

from pacos.engines import Sampling
from pacos.engines.local.sampler import Sampler, sample
from pacos.watermark import Watermark

VOCABULARY = 120
WRITTEN = [11, 5, 93, 7, 40]


def samplers_of(count: int, mark: Watermark, written: list[int], first_seed: int = 0, **asked: float) -> list[Sampler]:
    return [
        Sampler(Sampling(1, seed=first_seed + n, **{"temperature": 0.8, **asked}), 9, [1, 2, 3], mark, list(written))  # type: ignore[arg-type]
        for n in range(count)
    ]


def logits(sharpness: float) -> torch.Tensor:
    return torch.randn(1, VOCABULARY, generator=torch.Generator().manual_seed(5)) * sharpness


@pytest.mark.parametrize("scheme", ["lefthash", "minhash", "skipgram", "selfhash", "threefry"])
@pytest.mark.parametrize(("sharpness", "delta"), [(1.5, 2.0), (4.0, 2.0), (0.5, 6.0)])
def test_what_is_drawn_has_the_marked_distribution(scheme: str, sharpness: float, delta: float) -> None:
    mark = Watermark(scheme, VOCABULARY, delta=delta, key=2**40 + 3)
    count, given = 20_000, logits(sharpness)
    marked = torch.softmax(mark.apply(torch.tensor([WRITTEN]), given / 0.8), dim=-1)[0]
    drawn = sample(given.expand(count, -1), samplers_of(count, mark, WRITTEN))[0]
    assert p_value(drawn, marked) > 1e-4
    # The unmarked distribution is another one.
    assert p_value(drawn, torch.softmax(given / 0.8, dim=-1)[0]) < 1e-9


def p_value(drawn: list[int], probabilities_V: torch.Tensor) -> float:
    """Of the chi-square test; tokens that are expected less than five times count as one."""
    expected = probabilities_V.double().numpy() * len(drawn)
    seen = np.bincount(drawn, minlength=VOCABULARY)
    common = expected >= 5
    seen, expected = np.append(seen[common], seen[~common].sum()), np.append(expected[common], expected[~common].sum())
    seen, expected = seen[expected > 0], expected[expected > 0]
    return float(stats.chisquare(seen, expected / expected.sum() * len(drawn)).pvalue)


def test_ties_are_the_same_tokens_when_few_are_asked_about_and_when_all_are_raised() -> None:
    mark = Watermark("selfhash", VOCABULARY, key=7)
    given = (torch.randn(6, VOCABULARY, generator=torch.Generator().manual_seed(3))).round()
    contexts = np.array([[n, n + 1, n + 2] for n in range(6)])
    rows, tokens = (each.ravel() for each in np.meshgrid(np.arange(6), np.arange(VOCABULARY), indexing="ij"))
    raised = (mark.apply(torch.from_numpy(contexts), given) - given > 1).numpy().ravel()
    assert raised.tolist() == mark.are_raised(contexts, given, rows, tokens).tolist()
    assert 20 < raised.sum() < 6 * 41


class BadMark(Watermark):
    """A mark that cannot say what it would raise."""

    def are_raised(self, *args: object) -> np.ndarray:
        raise SystemExit("no more")


def test_a_mark_that_fails_harms_its_own_rows_alone() -> None:
    bad, good = BadMark("lefthash", VOCABULARY, delta=9.0), Watermark("lefthash", VOCABULARY)
    given = logits(1.0).expand(6, -1)
    together = [*samplers_of(3, good, WRITTEN), *samplers_of(3, bad, WRITTEN)]
    drawn, failed = sample(given, together)
    assert failed.keys() == {3, 4, 5}
    assert all("no more" in why for why in failed.values())
    assert drawn[:3] == sample(given[:3], samplers_of(3, good, WRITTEN))[0]


def test_a_reply_that_was_begun_before_is_marked_from_its_first_token_on() -> None:
    mark = Watermark("skipgram", VOCABULARY)
    given = torch.randn(8, VOCABULARY, generator=torch.Generator().manual_seed(4))
    whole = sample(given, samplers_of(8, mark, WRITTEN))[0]
    for cut in range(len(WRITTEN) + 1):
        begun, written = WRITTEN[:cut], WRITTEN[cut:]
        rows = [
            Sampler(s.sampling, 9, [1, 2, 3, *begun], mark, list(written), num_begun=cut)
            for s in samplers_of(8, mark, WRITTEN)
        ]
        assert sample(given, rows)[0] == whole


def test_a_green_token_that_no_draw_meets_is_reached_all_the_same() -> None:
    mark = Watermark("lefthash", VOCABULARY, delta=40.0)
    green = mark.green_ids(WRITTEN)
    # Sixteen draws meet none of the green tokens, which the mark makes all but certain.
    given = torch.full((1, VOCABULARY), -12.0)
    given[0, next(token for token in range(VOCABULARY) if token not in green)] = 12.0
    drawn, failed = sample(given.expand(50, -1), samplers_of(50, mark, WRITTEN))
    assert not failed
    assert set(drawn) <= set(green)


@pytest.mark.parametrize("scheme", ["lefthash", "selfhash"])
def test_a_rows_token_is_the_same_whoever_shares_its_batch(scheme: str) -> None:
    mark = Watermark(scheme, VOCABULARY)
    given = torch.randn(24, VOCABULARY, generator=torch.Generator().manual_seed(1)) * 3
    together = sample(given, samplers_of(24, mark, WRITTEN))[0]
    alone = [sample(given[n : n + 1], samplers_of(1, mark, WRITTEN, first_seed=n))[0][0] for n in range(24)]
    assert together == alone
    # Beside rows that are cut, greedy or not marked.
    others = [
        samplers_of(1, mark, WRITTEN, top_p=0.5)[0],
        samplers_of(1, mark, WRITTEN, temperature=0.0)[0],
        samplers_of(1, mark, [])[0],
    ]
    mixed = sample(given, [*samplers_of(21, mark, WRITTEN), *others])[0]
    assert mixed[:21] == together[:21]


@pytest.mark.parametrize("asked", [{}, {"temperature": 0.0}, {"top_k": 5}, {"min_p": 0.01}])
def test_a_replys_first_tokens_are_as_without_a_mark(asked: dict[str, float]) -> None:
    mark = Watermark("selfhash", VOCABULARY, delta=30.0)
    given = torch.randn(40, VOCABULARY, generator=torch.Generator().manual_seed(2))
    unmarked = samplers_of(40, mark, [], **asked)
    for sampler in unmarked:
        sampler.hook = None
    for written, is_marked in ([], False), ([4, 5], False), ([4, 5, 6], True):
        plain = [Sampler(s.sampling, 9, s.prompt_ids, None, list(written)) for s in unmarked]
        same = sample(given, plain)[0] == sample(given, samplers_of(40, mark, written, **asked))[0]
        assert same is not is_marked
