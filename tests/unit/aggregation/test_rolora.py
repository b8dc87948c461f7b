from hypothesis import given
from hypothesis import strategies as st
from random_updates import EXAMPLES, A, B, client_rounds
from shared_factor import check_exact_mean

from blossomtune.aggregation.rolora import rolora, select_rolora_factor


@EXAMPLES
@given(client_rounds(mixed_ranks=False), st.sampled_from([A, B]))
def test_average_of_the_trained_factor_is_exact(client_round, shared_suffix):
    check_exact_mean(rolora, client_round, shared_suffix)


def test_clients_train_b_and_a_in_turn():
    assert [select_rolora_factor(r) for r in (1, 2, 3)] == ["B", "A", "B"]
