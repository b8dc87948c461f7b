import pytest
import torch

from blossomtune.federation.messages.base_deltas import flatten_base_deltas, unflatten_base_deltas


def test_updates_are_unflattened_as_they_were_flattened():
    base_deltas = {
        number: {layer: (torch.randn(4, 2), torch.randn(2, 3)) for layer in ("q_proj", "v_proj")}
        for number in (3, 12)
    }
    state = flatten_base_deltas(base_deltas)
    assert set(state) == {f"{n}/{x}_proj/{f}" for n in (3, 12) for x in "qv" for f in "AB"}
    unflattened = unflatten_base_deltas(state)
    assert unflattened.keys() == base_deltas.keys()
    for number, layers in base_deltas.items():
        assert unflattened[number].keys() == layers.keys()
        for layer, factors in layers.items():
            assert all(map(torch.equal, unflattened[number][layer], factors))


def test_missing_factor_is_an_error():
    with pytest.raises(KeyError, match="3/q_proj/B"):
        unflatten_base_deltas({"3/q_proj/A": torch.ones(2, 3)})


def test_name_of_another_form_is_an_error():
    with pytest.raises(ValueError, match="unpack"):
        unflatten_base_deltas({"q_proj/A": torch.ones(2, 3)})
