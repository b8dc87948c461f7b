import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_updates import (
    LAYERS,
    A,
    assert_close,
    client_rounds,
    dense_mean_update,
    dense_product,
    dense_update,
    random_adapter,
    share_tensor,
)

from blossomtune.aggregation.registry import AGGREGATIONS, select_trainable_factor
from blossomtune.aggregation.types import ClientUpdate
from blossomtune.config.lora import compute_scaling

TOLERANCES = {torch.float16: 2e-3, torch.bfloat16: 2e-2}


@pytest.mark.parametrize("name", AGGREGATIONS)
@settings(max_examples=15)
@given(data=st.data())
def test_order_of_clients_does_not_matter(name, data):
    mixed_ranks = name in ("flexlora", "flora", "hetlora")
    updates, server_state, lora = data.draw(client_rounds(mixed_ranks))
    s = compute_scaling(lora, lora.r)
    shuffled = data.draw(st.permutations(updates))
    one, other = (AGGREGATIONS[name](us, server_state, s) for us in (updates, shuffled))
    for layer in LAYERS:
        size = max(dense_update(u.state, u.scale, layer).norm() for u in updates)
        values = torch.linalg.svdvals(dense_mean_update(updates, layer))
        unique = lora.r >= len(values) or values[lora.r - 1] - values[lora.r] > 1e-2 * values[0]
        if name != "flexlora" or unique:
            difference = dense_update(one.state, s, layer) - dense_update(other.state, s, layer)
            assert difference.norm() <= 1e-5 * size
        if one.base_deltas:
            products = [dense_product(result.base_deltas[layer]) for result in (one, other)]
            assert (products[0] - products[1]).norm() <= 1e-5 * size


def total_update(name, result, s, layer):
    """Return the dense update of a result's adapter and base weights together."""
    total = dense_update(result.state, s, layer) if name != "flora" else 0
    return total + dense_product(result.base_deltas[layer]) if result.base_deltas else total


@pytest.mark.parametrize("name", AGGREGATIONS)
@settings(max_examples=15)
@given(client_round=client_rounds(mixed_ranks=False), num_clients=st.integers(1, 4))
def test_equal_clients_are_returned_unchanged(name, client_round, num_clients):
    updates, server_state, lora = client_round
    s = compute_scaling(lora, lora.r)
    state = updates[0].state
    equal = [ClientUpdate(state, s, 1 + i) for i in range(num_clients)]
    result = AGGREGATIONS[name](equal, server_state, s)
    if name not in ("flexlora", "flora"):
        assert all(torch.equal(result.state[n], state[n]) for n in state)
    for layer in LAYERS:
        assert_close(total_update(name, result, s, layer), dense_update(state, s, layer))


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("name", AGGREGATIONS)
def test_half_precision_is_summed_in_float64_and_returned_in_half_precision(name, dtype):
    generator = torch.Generator().manual_seed(1)
    # 300 clients: summed in half precision, the last would be lost.
    updates = [ClientUpdate(random_adapter(3, generator, dtype), 2.0, 1) for _ in range(300)]
    for layer in LAYERS:
        share_tensor(updates, layer + A)
    result = AGGREGATIONS[name](updates, random_adapter(3, generator, dtype), 2.0)
    tensors = [*result.state.values(), *(t for pair in result.base_deltas.values() for t in pair)]
    assert {t.dtype for t in tensors} == {dtype}
    if name == "hetlora":
        return
    for layer in LAYERS:
        mean = dense_mean_update(updates, layer)
        size = mean.norm() if name != "flora" else 2.0
        difference = total_update(name, result, 2.0, layer) - mean
        assert difference.norm() <= TOLERANCES[dtype] * size


def test_clients_train_both_factors_unless_the_method_freezes_one():
    factors = {name: [select_trainable_factor(name, r) for r in (1, 2)] for name in AGGREGATIONS}
    assert factors.pop("ffa") == ["B", "B"]
    assert factors.pop("rolora") == ["B", "A"]
    assert all(pair == ["both", "both"] for pair in factors.values())
