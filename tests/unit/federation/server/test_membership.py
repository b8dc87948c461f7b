import logging
import time

import pytest
from federation_samples import federation_spec
from flwr.app import ConfigRecord, Error, MetricRecord, RecordDict
from node_grid import NodeGrid, answer_number

from blossomtune.deployment.flower_internal import set_task_identity
from blossomtune.errors import UserError
from blossomtune.federation.server.membership import Membership

SPEC = federation_spec(names=("north", "south"), round_timeout=60, min_clients=2)


@pytest.fixture(autouse=True)
def flower_task():
    """Set the task identity that Flower needs to create messages."""
    set_task_identity(task_id=1, run_id=1, node_id=1)


def discover(grid, spec, authenticated_clients=None):
    """Return the node ids by client at the start."""
    members = Membership(grid, spec, authenticated_clients)
    members.wait_at_start()
    return members.node_ids


def test_nodes_are_found_by_the_numbers_that_they_report():
    assert discover(NodeGrid({7: answer_number(1), 8: answer_number(0)}), SPEC) == {0: 8, 1: 7}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (answer_number(0), "two nodes say that they are client 0"),
        (answer_number(2), "a node says that it is client 2, of 2"),
        (RecordDict({"metrics": MetricRecord({"client": [1]})}), r"client \[1\], of 2"),
        (RecordDict({"metrics": ConfigRecord({"client": 1})}), "client None, of 2"),
        (RecordDict(), "client None, of 2"),
        (Error(0, "<class 'UserError'>:<'Message: no rows'>"), "no rows"),
    ],
)
def test_node_that_is_no_client_is_named_with_its_error(answer, message):
    with pytest.raises(
        UserError, match=rf"1 of the 2 clients .*\n.*\n  1 \(south\)\n  .*{message}"
    ):
        discover(NodeGrid({7: answer_number(0), 8: answer}), SPEC)


def test_node_with_the_key_of_another_client_is_rejected():
    grid = NodeGrid({7: answer_number(0), 8: answer_number(1)})
    with pytest.raises(UserError, match="a node says that it is client 1, with another's key"):
        discover(grid, SPEC, authenticated_clients={7: 0, 8: 0})


def test_silent_node_delays_until_the_timeout_only():
    spec = federation_spec(names=("north", "south"), round_timeout=0.5, min_clients=1)
    started = time.monotonic()
    assert discover(NodeGrid({7: answer_number(0), 8: None}), spec) == {0: 7}
    assert time.monotonic() - started < 5


def test_client_that_connects_after_a_silent_one_is_found():
    grid = NodeGrid({8: None, 7: answer_number(0)})
    connected = iter([[8]])
    grid.get_node_ids = lambda: next(connected, [8, 7])
    spec = federation_spec(names=("north", "south"), round_timeout=1, min_clients=1)
    assert discover(grid, spec) == {0: 7}


def start(grid, **federation):
    """Return the members of a run that starts with the first client."""
    federation = {"round_timeout": 60, "min_available_clients": 1} | federation
    members = Membership(grid, federation_spec(names=("north", "south"), **federation))
    members.wait_at_start()
    return members


def test_run_starts_with_fewer_clients_if_it_may():
    grid = NodeGrid({7: answer_number(0), 8: None})
    assert start(grid).node_ids == {0: 7}


def test_client_may_join_leave_and_come_back(caplog):
    caplog.set_level(logging.INFO)
    grid = NodeGrid({7: answer_number(0), 8: answer_number(1)})
    connected = {1: [7], 2: [7, 8], 3: [8], 4: [7, 8]}
    grid.online = connected[1]
    members = start(grid)
    found = {}
    for number, grid.online in connected.items():
        found[number] = members.wait_for_round(number, 1)
    assert found == {1: [0], 2: [0, 1], 3: [1], 4: [0, 1]}
    assert grid.sent == 2  # each node is asked once
    assert [record.getMessage() for record in caplog.records] == [
        "client 1 (south) is not connected",
        "client 1 (south) is connected",
        "client 0 (north) is not connected",
        "client 0 (north) is connected",
    ]


def test_round_waits_for_as_many_clients_as_it_needs():
    grid = NodeGrid({7: answer_number(0), 8: answer_number(1)})
    grid.online = [7]
    members = start(grid)
    polls = iter([[7], [7], [7, 8]])
    grid.get_node_ids = lambda: next(polls, [7, 8])
    assert members.wait_for_round(1, 2) == [0, 1]


def test_round_stops_after_the_timeout_and_names_who_is_not_connected():
    grid = NodeGrid({7: answer_number(0), 8: answer_number(1)})
    members = start(grid, round_timeout=0.3)
    grid.online = [7]
    with pytest.raises(UserError, match=r"round 2 stops: 1 of the 2 .*\n.*\n  1 \(south\)$"):
        members.wait_for_round(2, 2)


def test_client_with_another_version_of_this_package_is_refused():
    answer = answer_number(1)
    answer["versions"]["blossomtune"] = "9.1"
    with pytest.raises(UserError, match=r"\n  client 1 has blossomtune 9\.1, and the server has"):
        Membership(NodeGrid({7: answer_number(0), 8: answer}), SPEC).wait_at_start()
