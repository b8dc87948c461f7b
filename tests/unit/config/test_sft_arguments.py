"""Tests of the arguments of SFTConfig."""

import yaml
from config_samples import EXPERIMENT, FEDERATION, PRIVACY, RAW, set_values

from blossomtune.config import sft_arguments
from blossomtune.config.load import load_configuration


def test_text_with_a_number_becomes_a_number():
    raw = yaml.safe_load("{learning_rate_max: 1e-2, arguments: {weight_decay: 1e-4}}")
    assert raw == {"learning_rate_max": "1e-2", "arguments": {"weight_decay": "1e-4"}}
    training = (
        load_configuration(set_values(RAW, {f"{EXPERIMENT}.training": raw}))
        .experiments["quickstart"]
        .training
    )
    assert training.learning_rate_max == 0.01
    assert training.arguments == {"weight_decay": 0.0001}
    raw = yaml.safe_load("{communication: {budget_mb: 1e3}, strategy: {name: fedadam, eta: 1e-1}}")
    assert raw["strategy"]["eta"] == "1e-1"
    federation = (
        load_configuration(set_values(RAW, {FEDERATION: raw})).experiments["quickstart"].federation
    )
    assert (federation.communication.budget_mb, federation.strategy.eta) == (1000, 0.1)
    federation = (
        load_configuration(set_values(RAW, {f"{PRIVACY}.delta": "1e-6"}))
        .experiments["quickstart"]
        .federation
    )
    assert federation.privacy.delta == 1e-6


def test_names_are_those_of_sftconfig():
    """Compare the parsed names with the class itself."""
    from dataclasses import fields

    from trl import SFTConfig

    known = {field.name for field in fields(SFTConfig) if field.init}
    assert set(sft_arguments.read_annotations()) == known
    assert set(sft_arguments.RESERVED) <= known


def test_optimizers_are_those_of_transformers():
    from transformers.training_args import OptimizerNames

    assert sft_arguments.list_optimizers() == ["adopt", *(name.value for name in OptimizerNames)]
