import pytest
from artifact_samples import round_record

from blossomtune.artifacts.round_record import ClientTraffic
from blossomtune.federation.server.budget import CommunicationBudget, OverBudgetError

TRAFFIC = ClientTraffic(client=0, name="a", bytes_down=100, bytes_up=200)


def test_without_a_limit_everything_is_allowed():
    budget = CommunicationBudget(None, [])
    assert budget.allows(10**12)
    budget.require(1, 10**12)


def test_bytes_of_earlier_rounds_and_of_this_run_count():
    budget = CommunicationBudget(0.001, [round_record(1, bytes_down=300, bytes_up=200)])
    assert budget.allows(500)
    assert not budget.allows(501)
    budget.spend([TRAFFIC])
    assert budget.allows(200)
    assert not budget.allows(201)


def test_round_beyond_the_budget_is_rejected_with_its_size():
    budget = CommunicationBudget(2.5, [])
    budget.require(3, 2_500_000)
    with pytest.raises(OverBudgetError) as error:
        budget.require(3, 2_600_000)
    expected = "round 3 would move 2.6 MB, and of the budget of 2.5 MB 2.5 MB are left"
    assert str(error.value) == expected
