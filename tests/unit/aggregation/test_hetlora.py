import torch
from hypothesis import given
from random_updates import (
    EXAMPLES,
    LAYERS,
    A,
    B,
    assert_close,
    client_rounds,
    dense_update,
    random_adapter,
)

from blossomtune.aggregation.hetlora import hetlora
from blossomtune.aggregation.types import ClientUpdate
from blossomtune.config.lora import compute_scaling


def reference_hetlora(updates, rank, s, layer):
    """Compute B and A of the paper's section 4 with dense norms."""
    products = [dense_update(u.state, u.scale, layer) for u in updates]
    norms = [float(torch.linalg.matrix_norm(p, "fro")) for p in products]
    d, k = products[0].shape
    b, a = torch.zeros(d, rank, dtype=torch.float64), torch.zeros(rank, k, dtype=torch.float64)
    for u, norm in zip(updates, norms, strict=True):
        r_i = u.state[layer + A].shape[0]
        b[:, :r_i] += norm / sum(norms) * (u.scale / s) * u.state[layer + B].double()
        a[:r_i] += norm / sum(norms) * u.state[layer + A].double()
    return b, a


@EXAMPLES
@given(client_rounds())
def test_hetlora_matches_the_paper(client_round):
    updates, server_state, lora = client_round
    s = compute_scaling(lora, lora.r)
    state = hetlora(updates, server_state, s).state
    max_rank = max(u.state[next(iter(LAYERS)) + A].shape[0] for u in updates)
    for layer in LAYERS:
        b, a = reference_hetlora(updates, lora.r, s, layer)
        assert_close(state[layer + B].double(), b, absolute=1e-6)
        assert_close(state[layer + A][:max_rank].double(), a[:max_rank], absolute=1e-6)
        assert torch.equal(state[layer + A][max_rank:], server_state[layer + A][max_rank:])
        size = s * float(b.norm() * a.norm())
        assert_close(dense_update(state, s, layer), s * b @ a, absolute=1e-5 * size)


def test_hetlora_uses_aggregation_weights_if_all_norms_are_zero():
    generator = torch.Generator().manual_seed(0)
    states = [random_adapter(2, generator) for _ in range(2)]
    for state in states:
        state |= {n: torch.zeros_like(t) for n, t in state.items() if n.endswith(B)}
    updates = [ClientUpdate(states[0], 1.0, 1), ClientUpdate(states[1], 1.0, 3)]
    result = hetlora(updates, states[0], 1.0).state
    for layer in LAYERS:
        average = 0.25 * states[0][layer + A] + 0.75 * states[1][layer + A]
        assert torch.allclose(result[layer + A], average)
