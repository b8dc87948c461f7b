import torch
from hypothesis import given
from random_updates import (
    EXAMPLES,
    LAYERS,
    assert_close,
    client_rounds,
    dense_mean_update,
    dense_product,
    dense_update,
)

from blossomtune.aggregation.fedavg import fedavg
from blossomtune.aggregation.fedex import fedex
from blossomtune.config.lora import compute_scaling


@EXAMPLES
@given(client_rounds(mixed_ranks=False))
def test_fedex_is_the_average_and_its_residual(client_round):
    updates, server_state, lora = client_round
    s = compute_scaling(lora, lora.r)
    result, average = (method(updates, server_state, s) for method in (fedex, fedavg))
    assert all(torch.equal(result.state[name], average.state[name]) for name in server_state)
    for layer in LAYERS:
        total = dense_update(result.state, s, layer) + dense_product(result.base_deltas[layer])
        assert_close(total, dense_mean_update(updates, layer), absolute=1e-6)
