import torch
from hypothesis import given
from random_updates import (
    EXAMPLES,
    LAYERS,
    A,
    B,
    assert_best_approximation,
    assert_close,
    client_rounds,
    dense_mean_update,
    dense_update,
    random_adapter,
)

from blossomtune.aggregation.flexlora import flexlora
from blossomtune.aggregation.layers import truncate_rank
from blossomtune.aggregation.types import ClientUpdate
from blossomtune.config.lora import compute_scaling


@EXAMPLES
@given(client_rounds())
def test_flexlora_is_the_truncated_svd_for_the_server_and_every_client(client_round):
    updates, server_state, lora = client_round
    s = compute_scaling(lora, lora.r)
    result = flexlora(updates, server_state, s)
    assert not result.base_deltas
    for layer in LAYERS:
        matrix = dense_mean_update(updates, layer)
        assert_best_approximation(dense_update(result.state, s, layer), matrix, lora.r)
        for rank in range(1, lora.r + 1):
            client_scale = compute_scaling(lora, rank)
            state = truncate_rank(result.state, rank, s, client_scale)
            assert state[layer + A].shape[0] == state[layer + B].shape[1] == rank
            assert_best_approximation(dense_update(state, client_scale, layer), matrix, rank)


@EXAMPLES
@given(client_rounds())
def test_flexlora_is_exact_if_the_server_rank_is_large_enough(client_round):
    updates, _, lora = client_round
    rank = sum(u.state[next(iter(LAYERS)) + A].shape[0] for u in updates)
    server_state = random_adapter(rank, torch.Generator().manual_seed(0))
    s = compute_scaling(lora, rank)
    result = flexlora(updates, server_state, s)
    for layer in LAYERS:
        assert result.state[layer + A].shape == server_state[layer + A].shape
        assert_close(dense_update(result.state, s, layer), dense_mean_update(updates, layer))


def test_unused_components_keep_the_rows_of_the_server():
    server_state = random_adapter(4, torch.Generator().manual_seed(0))
    zero = {n: t if n.endswith(A) else torch.zeros_like(t) for n, t in server_state.items()}
    state = flexlora([ClientUpdate(zero, 2.0, 1)], server_state, 2.0).state
    for layer in LAYERS:
        assert torch.equal(state[layer + A], server_state[layer + A])
        assert not state[layer + B].any()


def test_signs_do_not_depend_on_the_linear_algebra_library():
    generator = torch.Generator().manual_seed(0)
    updates = [ClientUpdate(random_adapter(3, generator), 2.0, 1)]
    server_state = random_adapter(3, generator)
    negative = {n: -t for n, t in updates[0].state.items()}  # the same product
    for u in (*updates, ClientUpdate(negative, 2.0, 1)):
        for name, value in flexlora([u], server_state, 2.0).state.items():
            if name.endswith(A):
                assert (value.gather(1, value.abs().argmax(1, keepdim=True)) > 0).all()
