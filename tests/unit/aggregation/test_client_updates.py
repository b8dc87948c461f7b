from hypothesis import given
from random_updates import (
    EXAMPLES,
    LAYERS,
    A,
    B,
    assert_close,
    client_rounds,
    dense_mean_update,
    dense_product,
)

from blossomtune.aggregation.client_updates import mean_update, residual_update, weighted_mean
from blossomtune.aggregation.low_rank import stack_factors


@EXAMPLES
@given(client_rounds())
def test_terms_of_the_mean_update_sum_to_it(client_round):
    updates, _, _ = client_round
    for layer in LAYERS:
        mean = dense_product(stack_factors(mean_update(updates, layer)))
        assert_close(mean, dense_mean_update(updates, layer))


@EXAMPLES
@given(client_rounds(mixed_ranks=False))
def test_residual_is_the_mean_update_minus_the_product_of_means(client_round):
    updates, _, _ = client_round
    for layer in LAYERS:
        residual = dense_product(stack_factors(residual_update(updates, layer)))
        b, a = weighted_mean(updates, layer + B), weighted_mean(updates, layer + A)
        mean = dense_mean_update(updates, layer)
        assert_close(residual, mean - updates[0].scale * b @ a, absolute=1e-9 * mean.norm())
