"""Train every combination of strategy, aggregation and adapter that the configuration accepts.

The combinations come from the configuration's own blocks, so that new ones are not forgotten.
"""

import itertools
import typing

import pytest
from local_grid import build_experiment

from blossomtune.config.conflicts import find_conflicts
from blossomtune.config.federation import AggregationMethod
from blossomtune.config.lora import LoraSettings
from blossomtune.config.strategies import STRATEGY_SETTINGS

PARAMETERS = {"fedtrimmedavg": {"beta": 0.34}}  # drops one of three clients at each end
STRATEGIES = [{"name": name, **PARAMETERS.get(name, {})} for name in STRATEGY_SETTINGS]
AGGREGATIONS = typing.get_args(AggregationMethod)
ADAPTERS = {
    "lora": {},
    "rslora": {"rslora": True, "alpha": 4},
    "dora": {"dora": True},
    "mixed": {"ranks": [2, 3, 4]},
    "rslora mixed": {"rslora": True, "alpha": 4, "ranks": [2, 3, 4]},
}
SIZE_KEYS = {"r", "alpha", "dropout", "target_modules"}
"""Keys of ``lora`` that do not change the kind of adapter."""


def build(combination):
    strategy, aggregation, adapter = combination
    return build_experiment(strategy=strategy, aggregation=aggregation, lora=ADAPTERS[adapter])


def list_conflicts(combination):
    return list(find_conflicts(build(combination), num_clients=3, has_validation_rows=True))


def format_id(combination):
    strategy, *others = combination
    return "-".join([strategy["name"], *others])


COMBINATIONS = list(itertools.product(STRATEGIES, AGGREGATIONS, ADAPTERS))
ACCEPTED = [combination for combination in COMBINATIONS if not list_conflicts(combination)]
REJECTED = [combination for combination in COMBINATIONS if combination not in ACCEPTED]


def test_every_kind_of_adapter_is_combined():
    keys = {key for keys in ADAPTERS.values() for key in keys}
    assert set(LoraSettings.model_fields) - SIZE_KEYS == keys - SIZE_KEYS


@pytest.mark.parametrize("combination", ACCEPTED, ids=format_id)
def test_accepted_combination_decreases_the_loss(train, combination):
    _, history = train(build(combination))
    first, *_, last = history["rounds"]
    assert last["evaluation"]["loss"] < first["evaluation"]["loss"] - 0.01
    assert [len(r["clients"]) for r in history["rounds"]] == [0, 3, 3]


@pytest.mark.parametrize("combination", REJECTED, ids=format_id)
def test_rejected_combination_names_key_and_alternative(combination):
    for key, message in list_conflicts(combination):
        assert key.startswith(("lora.", "federation."))
        assert "; use " in message
