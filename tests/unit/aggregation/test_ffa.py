from hypothesis import given
from random_updates import EXAMPLES, A, client_rounds
from shared_factor import check_exact_mean

from blossomtune.aggregation.ffa import ffa, select_ffa_factor


@EXAMPLES
@given(client_rounds(mixed_ranks=False))
def test_average_of_b_is_exact(client_round):
    check_exact_mean(ffa, client_round, shared_suffix=A)


def test_clients_train_b_in_every_round():
    assert [select_ffa_factor(r) for r in (1, 2, 3)] == ["B", "B", "B"]
