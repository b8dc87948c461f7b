"""Everything that the configuration accepts, trained for real on a tiny model, in this process.

What is combined is read from the configuration's own blocks, so that nothing new is forgotten.
"""

import itertools
import typing

import pytest
from in_process import experiment

from blossomtune.config import federation as blocks
from blossomtune.config import strategies
from blossomtune.config.conflicts import find_conflicts
from blossomtune.config.lora import LoraSettings

PARAMETERS = {"fedtrimmedavg": {"beta": 0.34}}  # of three clients, one at each end
STRATEGIES = [{"name": name, **PARAMETERS.get(name, {})} for name in strategies.STRATEGY_SETTINGS]
AGGREGATIONS = typing.get_args(blocks.AggregationMethod)
ADAPTERS = {
    "lora": {},
    "rslora": {"rslora": True, "alpha": 4},
    "dora": {"dora": True},
    "mixed": {"ranks": [2, 3, 4]},
    "rslora mixed": {"rslora": True, "alpha": 4, "ranks": [2, 3, 4]},
}
SIZES = {"r", "alpha", "dropout", "target_modules"}
"""Keys of an adapter that leave its kind alone."""


def named(names):
    return "-".join([names[0]["name"], *names[1:]])


ALL = list(itertools.product(STRATEGIES, AGGREGATIONS, ADAPTERS))


def made(strategy, aggregation, adapter):
    return experiment(strategy=strategy, aggregation=aggregation, lora=ADAPTERS[adapter])


def faults(e):
    return list(find_conflicts(e, num_clients=3, has_validation_rows=True))


ACCEPTED = [names for names in ALL if not faults(made(*names))]


def test_no_kind_of_adapter_is_forgotten():
    used = {key for keys in ADAPTERS.values() for key in keys}
    assert set(LoraSettings.model_fields) - SIZES == used - SIZES


@pytest.mark.parametrize("names", ACCEPTED, ids=named)
def test_what_is_accepted_learns(train, names):
    _, history = train(made(*names))
    first, *_, last = history["rounds"]
    assert last["evaluation"]["loss"] < first["evaluation"]["loss"] - 0.01
    assert [len(r["clients"]) for r in history["rounds"]] == [0, 3, 3]


@pytest.mark.parametrize("names", [n for n in ALL if n not in ACCEPTED], ids=named)
def test_what_is_refused_says_why(names):
    for key, sentence in faults(made(*names)):
        assert key.startswith(("lora.", "federation."))
        assert "; use " in sentence
