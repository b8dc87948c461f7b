"""Tests of loading whole configurations."""

from config_samples import (
    ARGUMENTS,
    DATA,
    EXPERIMENT,
    FEDERATION,
    PARTITION,
    PRIVACY,
    RAW,
    SOURCE,
    get_errors,
    set_values,
)
from hypothesis import given
from hypothesis import strategies as st

from blossomtune.config.load import ConfigurationError, load_configuration


def test_errors_of_all_kinds_are_reported_at_once():
    changes = {
        "sed": 1,
        f"{SOURCE}.kind": "pipy",
        f"{PARTITION}.num_partitions": "four",
        f"{PARTITION}.dataset": "other",
        f"{EXPERIMENT}.training.learning_rate_min": 1,
        f"{EXPERIMENT}.evaluation.choices": ["a"],
        f"{ARGUMENTS}.max_stepz": 3,
        f"{ARGUMENTS}.seed": 3,
        "run": ["other"],
    }
    paths = [line.partition(": ")[0] for line in get_errors(set_values(RAW, changes))]
    assert sorted(paths) == sorted({**changes, "run[0]": 0}.keys() - {"run"})


def test_defaults_are_filled_in():
    experiment = load_configuration(RAW).experiments["quickstart"]
    assert experiment.lora.target_modules[0] == "q_proj"
    assert experiment.evaluation.bootstrap == 2000


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(st.sampled_from(["kind", "source", "path", "name", "column", "ranks", 1,
                                       "a b"]), inner, max_size=2),
    max_leaves=5,
), st.sampled_from(["seed", "run", "models", SOURCE, DATA, f"{DATA}.test", PARTITION, "experiments",
                    EXPERIMENT, ARGUMENTS, f"{EXPERIMENT}.lora.target_modules",
                    f"{EXPERIMENT}.lora.ranks", FEDERATION, f"{FEDERATION}.strategy",
                    f"{FEDERATION}.communication", PRIVACY,
                    f"{EXPERIMENT}.baselines"]))  # fmt: skip
def test_any_value_is_accepted_or_explained(value, path):
    try:
        load_configuration(set_values(RAW, {path: value}))
    except ConfigurationError as error:
        assert "input should" not in str(error).lower()


def test_value_that_is_no_block_is_reported():
    for raw in (None, [], "text"):
        assert get_errors(raw) == [f"(top level): {raw!r} is not allowed; allowed: a block of keys"]
