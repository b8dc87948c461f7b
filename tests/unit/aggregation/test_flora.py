import torch
from hypothesis import given
from random_updates import (
    EXAMPLES,
    LAYERS,
    assert_close,
    client_rounds,
    dense_mean_update,
    dense_product,
)

from blossomtune.aggregation.flora import flora
from blossomtune.config.lora import compute_scaling


@EXAMPLES
@given(client_rounds())
def test_flora_is_exact_and_returns_the_new_adapter(client_round):
    updates, server_state, lora = client_round
    result = flora(updates, server_state, compute_scaling(lora, lora.r))
    assert all(torch.equal(result.state[name], server_state[name]) for name in server_state)
    for layer in LAYERS:
        assert_close(dense_product(result.base_deltas[layer]), dense_mean_update(updates, layer))
