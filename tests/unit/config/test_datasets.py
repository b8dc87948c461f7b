"""Tests of the errors of data sets."""

import pytest
from config_samples import RAW, get_errors_of_blocks


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": {"kind": "csv"}}, ": format has no place beside a mixture: its rows are those "
         "of its data sets, test rows included"),
        ({"test": {"size": 3}}, ": test has no place beside a mixture: its rows are those "
         "of its data sets, test rows included"),
        ({"source": {"kind": "mixture", "datasets": ["x"]}},
         ".source.datasets: ['x'] is not allowed; allowed: a list of at least 2"),
        ({"source": {"kind": "mixture", "datasets": ["x", "x"]}},
         ".source.datasets: 'x' is listed twice"),
        ({"source": {"kind": "mixture", "datasets": ["vader-sentiment", "b"], "weights": [1]}},
         ".source: weights: 1 for 2 datasets; one each"),
    ],
)  # fmt: skip
def test_wrong_keys_of_a_mixture_are_rejected(changes, message):
    source = {"kind": "mixture", "datasets": ["vader-sentiment", "b"]}
    other = RAW["datasets"]["vader-sentiment"]
    errors = get_errors_of_blocks(datasets={"b": other, "m": {"source": source} | changes})
    assert errors[0] == f"datasets.m{message}"
