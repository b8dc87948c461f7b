import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from random_updates import (
    EXAMPLES,
    LAYERS,
    MAGNITUDE,
    A,
    B,
    assert_close,
    client_rounds,
    dense_mean_update,
    dense_product,
    dense_update,
)

from blossomtune.aggregation.flora import flora
from blossomtune.aggregation.layers import stack_base_deltas, truncate_rank
from blossomtune.config.lora import compute_scaling


@EXAMPLES
@given(client_rounds())
def test_truncation_keeps_leading_components_and_other_tensors(client_round):
    _, state, lora = client_round
    s, rank = compute_scaling(lora, lora.r), max(1, lora.r // 2)
    client_scale = compute_scaling(lora, rank)
    state[MAGNITUDE] = torch.ones(9)
    truncated = truncate_rank(state, rank, s, client_scale)
    assert torch.equal(truncated[MAGNITUDE], torch.ones(9))
    for layer in LAYERS:
        b, a = state[layer + B].double(), state[layer + A].double()
        assert_close(dense_update(truncated, client_scale, layer), s * b[:, :rank] @ a[:rank])
        for name in (layer + A, layer + B):
            alone = truncate_rank({name: state[name]}, rank, s, client_scale)
            assert alone.keys() == {name}
            assert torch.equal(alone[name], truncated[name])
    unchanged = truncate_rank(state, lora.r, s, s)
    assert all(torch.equal(unchanged[name], state[name]) for name in state)
    assert all(t.is_contiguous() for t in truncated.values())


@EXAMPLES
@given(st.lists(client_rounds(), min_size=0, max_size=4), client_rounds())
def test_stacked_base_deltas_are_exact_and_of_limited_rank(earlier_rounds, last_round):
    base_deltas = [
        flora(updates, server_state, 1.0).base_deltas for updates, server_state, _ in earlier_rounds
    ]
    _, state, lora = last_round
    s = compute_scaling(lora, lora.r)
    stacked = stack_base_deltas(state, s, base_deltas)
    for layer, (d, k) in LAYERS.items():
        means = [dense_mean_update(updates, layer) for updates, _, _ in earlier_rounds]
        expected = dense_update(state, s, layer) + sum(means)
        size = math.sqrt(sum(dense_product(f[layer]).norm() ** 2 for f in base_deltas))
        b, a = stacked[layer]
        assert b.shape[1] == a.shape[0] <= max(min(d, k), lora.r)
        absolute = 1e-5 * float(size + expected.norm())
        assert_close(dense_product((b, a)), expected, absolute=absolute)
