from typing import get_args

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord

from blossomtune.config.strategies import STRATEGY_SETTINGS, AnyStrategySettings
from blossomtune.federation.server.strategy_registry import (
    FLOWER_STRATEGIES,
    build_strategy,
    extract_moments,
    restore_strategy,
)

SELECTION_PARAMETERS = {"malicious", "selected"}
"""Parameters of Krum's selection, which precedes the average."""


def test_every_strategy_of_the_configuration_is_known_with_all_its_parameters():
    assert set(get_args(get_args(AnyStrategySettings)[0])) == set(STRATEGY_SETTINGS.values())
    assert FLOWER_STRATEGIES.keys() == STRATEGY_SETTINGS.keys()
    for name, settings_class in STRATEGY_SETTINGS.items():
        strategy_class, parameters = FLOWER_STRATEGIES[name]
        others = {"name"} | (SELECTION_PARAMETERS if name in ("krum", "multikrum") else set())
        assert parameters.keys() == settings_class.model_fields.keys() - others
        is_average = name in ("scaffold", "krum", "multikrum")
        assert strategy_class.__name__.lower() == ("fedavg" if is_average else name)


def build(name, **parameters):
    return build_strategy(STRATEGY_SETTINGS[name](name=name, **parameters))


def test_parameters_reach_flower():
    strategy = build("fedyogi", eta=0.5, tau=0.25, beta_1=0.125, beta_2=0.75)
    parameters = (strategy.eta, strategy.tau, strategy.beta_1, strategy.beta_2)
    assert parameters == (0.5, 0.25, 0.125, 0.75)
    assert build("fedavgm").server_momentum == 0.9
    assert build("bulyan", malicious=2).num_malicious_nodes == 2


def test_bulyan_gets_the_selected_clients():
    strategy = build_strategy(STRATEGY_SETTINGS["bulyan"](name="bulyan"), selected=[2, 0])
    assert strategy.selection_rule(["a", "b", "c"], 0, 2) == ["c", "a"]


@pytest.mark.parametrize(
    ("name", "moments"), [("fedadam", ["m_t", "v_t"]), ("fedavgm", ["momentum"]), ("fedavg", [])]
)
def test_moments_of_one_strategy_are_restored_into_the_next(name, moments):
    names = ["a", "b"]
    arrays = ArrayRecord({n: Array(np.ones(2)) for n in names})
    state = {f"{key}/{n}": torch.rand(2).double() for key in moments for n in names}
    strategy = build(name)
    restore_strategy(strategy, state, arrays)
    restored = extract_moments(strategy, names)
    assert restored.keys() == state.keys()
    assert all(torch.equal(restored[key], state[key]) for key in state)


def test_new_strategy_has_no_moments():
    for name in STRATEGY_SETTINGS:
        strategy = build(name)
        assert all(getattr(strategy, key, None) is None for key in ("m_t", "v_t"))
        if name not in ("fedadagrad", "fedadam", "fedyogi"):
            assert extract_moments(strategy, ["a"]) == {}
