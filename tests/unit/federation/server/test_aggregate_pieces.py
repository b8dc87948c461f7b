"""Tests that pieces give the bits that whole tensors give."""

import pytest
import torch

from blossomtune.config.federation import FederationSettings
from blossomtune.config.strategies import STRATEGY_SETTINGS
from blossomtune.federation.server import aggregate_pieces as module
from blossomtune.federation.server.aggregate_pieces import WeightedState, aggregate_pieces
from blossomtune.federation.server.tensor_spool import TensorSpool

pytestmark = pytest.mark.usefixtures("flower_task")


def random_state(seed):
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.randn(shape, generator=generator) for n, shape in SHAPES.items()}


SHAPES = {"b": (40, 8), "a": (8, 100), "c": (30,)}


def run_rounds(name, results_of):
    """Return the states and moments of three rounds."""
    settings = FederationSettings(strategy=name).strategy
    state, moments, after = random_state(0), {}, []
    for number in (1, 2, 3):
        results = results_of(number)
        state, moments = aggregate_pieces(settings, number, state, results, moments)
        after += [state, moments]
    return after


def list_results(number, write=lambda state: state):
    states = [random_state(10 * number + client) for client in range(7)]
    return [WeightedState(write(s), 3 + 5 * client) for client, s in enumerate(states)]


@pytest.mark.parametrize("name", STRATEGY_SETTINGS)
def test_pieces_of_spooled_tensors_have_the_bits_of_whole_tensors(name, monkeypatch, tmp_path):
    whole = run_rounds(name, list_results)
    monkeypatch.setattr(module, "MAX_ELEMENTS", 7 * 90)
    with TensorSpool(tmp_path) as spool:
        pieces = run_rounds(
            name, lambda number: list_results(number, lambda s: spool.write(s.items()))
        )
    for one, other in zip(whole, pieces, strict=True):
        assert list(one) == list(other)
        assert all(torch.equal(one[n], other[n]) for n in one)
    assert list(whole[0]) == sorted(SHAPES)
