"""Tests of references to blocks that do not exist."""

from config_samples import RAW, get_errors, get_errors_of_blocks, set_values


def test_unknown_members_of_a_mixture_are_reported():
    mixture = {"source": {"kind": "mixture", "datasets": ["vader-sentiment", "vader"]}}
    assert get_errors_of_blocks(datasets={"mixed": mixture}) == [
        "datasets.mixed.source.datasets[1]: 'vader' is not a block of datasets; "
        "known: vader-sentiment, mixed"
    ]


def test_unknown_experiments_of_run_are_reported():
    assert get_errors(set_values(RAW, {"run": ["quickstart", "quikstart"]})) == [
        "run[1]: 'quikstart' is not a block of experiments; did you mean 'quickstart'? "
        "known: quickstart"
    ]
    assert get_errors({"run": ["a"]}) == ["run[0]: 'a' is not a block of experiments; known: none"]
