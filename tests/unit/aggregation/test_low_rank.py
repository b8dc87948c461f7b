import torch
from hypothesis import given
from random_updates import EXAMPLES, LAYERS, client_rounds, dense_mean_update

from blossomtune.aggregation.client_updates import mean_update
from blossomtune.aggregation.layers import iter_factors
from blossomtune.aggregation.low_rank import compute_qr_core, frobenius_norm


@EXAMPLES
@given(client_rounds())
def test_qr_core_has_the_singular_values_of_the_sum(client_round):
    updates, _, _ = client_round
    for layer in LAYERS:
        values = torch.linalg.svdvals(dense_mean_update(updates, layer))
        core_values = torch.linalg.svdvals(compute_qr_core(mean_update(updates, layer))[-1])
        count = min(len(values), len(core_values))
        assert torch.allclose(core_values[:count], values[:count], atol=1e-9 * float(values[0]))


@EXAMPLES
@given(client_rounds())
def test_frobenius_norm_is_that_of_the_product(client_round):
    _, state, _ = client_round
    for _, (b, a) in iter_factors(state):
        expected = float((b.double() @ a.double()).norm())
        assert abs(frobenius_norm((b, a)) - expected) <= 1e-9 * expected
