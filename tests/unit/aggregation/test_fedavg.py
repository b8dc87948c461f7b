import torch
from hypothesis import given
from random_updates import EXAMPLES, MAGNITUDE, client_rounds

from blossomtune.aggregation.fedavg import fedavg
from blossomtune.config.lora import compute_scaling


@EXAMPLES
@given(client_rounds(mixed_ranks=False))
def test_fedavg_averages_every_tensor(client_round):
    updates, server_state, lora = client_round
    for i, u in enumerate(updates):
        u.state[MAGNITUDE] = torch.arange(9.0) + i
    server_state[MAGNITUDE] = torch.zeros(9)
    result = fedavg(updates, server_state, compute_scaling(lora, lora.r))
    assert not result.base_deltas
    total = sum(u.weight for u in updates)
    assert result.state.keys() == updates[0].state.keys()
    for name, value in result.state.items():
        average = sum(u.weight / total * u.state[name].double() for u in updates)
        assert torch.allclose(value.double(), average, rtol=1e-6, atol=1e-6)
