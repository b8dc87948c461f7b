import pytest
from hypothesis import given
from hypothesis import strategies as st

from blossomtune.judging.verdicts import VerdictPair, summarize_verdicts

SETTINGS = {"seed": 3, "bootstrap": 500}
VERDICTS = st.sampled_from(["A", "B", "tie", None])


@pytest.mark.parametrize(
    ("pair", "score", "is_inconsistent"),
    [
        (("A", "B"), 1, False),
        (("B", "A"), 0, False),
        (("tie", "tie"), 0.5, False),
        (("A", "A"), 0.5, True),  # prefers the first answer, whichever it is
        (("B", "B"), 0.5, True),
        (("A", "tie"), 0.5, True),
        (("tie", "A"), 0.5, True),
        (("A", None), 0.5, False),
        ((None, None), 0.5, False),
    ],
)
def test_row_counts_only_if_both_orders_agree(pair, score, is_inconsistent):
    verdicts = VerdictPair(*pair)
    assert (verdicts.score, verdicts.is_inconsistent) == (score, is_inconsistent)
    assert verdicts.is_unreadable == (None in pair)


@given(st.lists(st.builds(VerdictPair, VERDICTS, VERDICTS), min_size=1, max_size=30))
def test_swapped_models_swap_wins_and_losses(verdicts):
    pair = summarize_verdicts(verdicts, SETTINGS)
    swapped = summarize_verdicts([VerdictPair(v.second, v.first) for v in verdicts], SETTINGS)
    assert (pair.wins, pair.losses, pair.ties) == (swapped.losses, swapped.wins, swapped.ties)
    assert pair.win_rate.value + swapped.win_rate.value == pytest.approx(1, abs=1e-4)
    assert pair.win_rate.low <= pair.win_rate.value <= pair.win_rate.high


def test_win_rate_and_counts_of_known_verdicts():
    verdicts = [VerdictPair("A", "B")] * 6 + [VerdictPair("B", "A")] * 2
    verdicts += [VerdictPair("A", "A"), VerdictPair("tie", None)]
    pair = summarize_verdicts(verdicts, SETTINGS)
    counts = (pair.rows, pair.wins, pair.losses, pair.ties, pair.inconsistent, pair.unreadable)
    assert counts == (10, 6, 2, 2, 1, 1)
    assert pair.win_rate.value == 0.7
    # the standard error of the mean is 0.128: the percentile interval is about 1.96 times as wide
    assert pair.win_rate.low == pytest.approx(0.7 - 1.96 * 0.128, abs=0.06)
    assert pair.win_rate.high == pytest.approx(0.7 + 1.96 * 0.128, abs=0.06)
