"""Tests of Krum's selection against Flower's, which has all tensors in memory."""

import pytest
import torch
from flwr.app import Array, ArrayRecord, RecordDict
from flwr.serverapp.strategy import multikrum  # oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from blossomtune.federation.server.krum_selection import project_states, select_clients


def random_states(seed, count, offset=0.0):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"b": (3, 5), "a": (17,)}
    return [
        {n: offset + torch.randn(shape, generator=generator) for n, shape in shapes.items()}
        for _ in range(count)
    ]


def to_record(state):
    return ArrayRecord({n: Array(state[n].double().numpy()) for n in sorted(state)})


@given(st.integers(0, 999), st.integers(3, 40), st.integers(0, 3), st.integers(1, 3))
@settings(max_examples=20)
@pytest.mark.parametrize("max_piece_elements", [5, 100])
def test_selection_is_flower_s(max_piece_elements, seed, count, num_malicious, num_selected):
    states = random_states(seed, count)
    contents = [RecordDict({"arrays": to_record(state)}) for state in states]
    expected = multikrum.select_multikrum(contents, num_malicious, num_selected)
    selected = select_clients(states, num_malicious, num_selected, max_piece_elements)
    assert [contents[position] for position in selected] == expected


@pytest.mark.parametrize("count", [4, 40])
def test_projection_keeps_distances(count):
    states = random_states(1, count, offset=1e4)
    flat = torch.stack([torch.cat([s["a"], s["b"].flatten()]).double() for s in states])
    vectors = project_states(states, max_piece_elements=7)
    assert vectors.shape == (count, min(count, 32))
    actual, expected = ((m[:, None] - m).square().sum(-1) for m in (vectors, flat))
    assert torch.allclose(actual, expected, rtol=1e-9)


def test_equal_clients_have_no_distance():
    states = random_states(1, 1) * 5
    assert not project_states(states, max_piece_elements=7).any()
