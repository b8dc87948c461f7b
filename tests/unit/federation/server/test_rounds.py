"""Tests of the server's rounds, with clients whose updates are known."""

import pytest
import torch
from federation_samples import federation_spec
from flwr.app import Error, Message, MessageType, MetricRecord, RecordDict

from blossomtune.deployment.flower_internal import set_message_id
from blossomtune.errors import UserError
from blossomtune.federation.messages import replies
from blossomtune.federation.messages.replies import TrainReply
from blossomtune.federation.messages.requests import decode_request
from blossomtune.federation.server.budget import OverBudgetError
from blossomtune.federation.server.rounds import RoundRunner
from blossomtune.federation.spec import ClientSpec
from blossomtune.training.checkpoints import Checkpoint

NAMES = ("north", "south", "west")
HELD, TRAINED = (10, 20, 70), (4, 4, 8)
A, B = "q_proj.lora_A.weight", "q_proj.lora_B.weight"
ADAPTER = {A: torch.ones(8, 3), B: torch.zeros(4, 8)}

pytestmark = pytest.mark.usefixtures("flower_task")


class AddingGrid:
    """Nodes of clients that add their number plus one to each tensor.

    Args:
        failing: Clients that answer with an error.
        loss: Validation loss of each client.
    """

    def __init__(self, failing=(), loss=2.0):
        self.failing, self.loss = failing, loss
        self.sent, self.pending = [], {}

    def get_node_ids(self):
        return [100 + client for client in range(len(NAMES))]

    def push_messages(self, messages):
        for message in messages:
            set_message_id(message, str(len(self.sent)))
            self.sent.append(message)
            self.pending[message.metadata.message_id] = message
        return [message.metadata.message_id for message in messages]

    def pull_messages(self, message_ids):
        """Return the replies in the reverse order of the messages."""
        return [self.answer(self.pending.pop(i)) for i in sorted(message_ids, reverse=True)]

    def answer(self, message):
        client, kind = message.metadata.dst_node_id - 100, message.metadata.message_type
        if kind == MessageType.QUERY:
            return self.reply(message, {"client": client})
        if client in self.failing:
            return Message(Error(0, "Message: no memory"), reply_to=message)
        if kind == MessageType.EVALUATE:
            return self.reply(message, {"loss": self.loss + client, "rows": 2.0})
        request = decode_request(message.content)
        state = {name: value + client + 1 for name, value in request.state.items()}
        control = None
        if request.server_control is not None:
            control = {name: torch.full_like(v, 3.0) for name, v in request.server_control.items()}
        metrics = dict.fromkeys(replies.TRAIN_METRICS, 1.0) | {"num-examples": TRAINED[client]}
        reply = TrainReply(request.state, state, control, metrics, {})
        return Message(replies.encode_train_reply(reply, "float32")[0], reply_to=message)

    @staticmethod
    def reply(message, metrics):
        return Message(RecordDict({"metrics": MetricRecord(metrics)}), reply_to=message)

    def list_clients(self, message_type):
        """Return the clients that were sent a message of a type, in order."""
        sent = [m.metadata for m in self.sent if m.metadata.message_type == message_type]
        return [metadata.dst_node_id - 100 for metadata in sent]


def build_runner(grid, **federation):
    keys = {"round_timeout": 5, "rounds": 4} | federation
    clients = tuple(
        ClientSpec(name=name, num_rows=rows, rank=8) for name, rows in zip(NAMES, HELD, strict=True)
    )
    spec = federation_spec(**keys).model_copy(update={"clients": clients})
    return RoundRunner(grid, spec, "0123456789abcdef", Checkpoint(0, ADAPTER, []))


@pytest.mark.parametrize(
    ("client_weights", "update"),
    [("trained", (4 * 1 + 4 * 2 + 8 * 3) / 16), ("held", (10 * 1 + 20 * 2 + 70 * 3) / 100)],
)
def test_adapter_is_the_weighted_mean_whatever_the_order_of_arrival(client_weights, update):
    runner = build_runner(AddingGrid(), client_weights=client_weights)
    result = runner.run_round(1)
    for name, value in ADAPTER.items():
        assert torch.allclose(runner.state.adapter[name], value + update)
    assert [client.name for client in result.clients] == list(NAMES)
    assert (result.number, result.failed) == (1, [])
    assert result.seconds > 0


def test_next_round_starts_with_the_new_adapter():
    grid = AddingGrid()
    runner = build_runner(grid, client_weights="held")
    runner.run_round(1)
    runner.run_round(2)
    requests = [decode_request(m.content) for m in grid.sent[-3:]]
    assert all(torch.allclose(r.state[A], ADAPTER[A] + 2.6) for r in requests)
    assert [(r.round, r.last_participation) for r in requests] == [(2, 1)] * 3
    assert torch.allclose(runner.state.adapter[A], ADAPTER[A] + 5.2)


def test_failed_client_is_recorded_and_has_not_participated():
    runner = build_runner(AddingGrid(failing=[1]), min_clients=2)
    result = runner.run_round(1)
    assert [client.client for client in result.clients] == [0, 2]
    [failure] = result.failed
    assert (failure.client, failure.reason) == (1, "no memory")
    assert runner.state.last_participation == {0: 1, 2: 1}
    assert torch.allclose(runner.state.adapter[A], ADAPTER[A] + (4 * 1 + 8 * 3) / 12)


def test_round_with_too_few_replies_is_an_error_that_names_the_clients():
    runner = build_runner(AddingGrid(failing=[1]), min_clients=3)
    with pytest.raises(UserError, match=r"round 1 stops: 2 of the 3 .*\n.*\n  1 \(south\): no mem"):
        runner.run_round(1)


def test_strategy_can_need_more_replies_than_min_clients():
    runner = build_runner(AddingGrid(failing=[1]), min_clients=1, strategy="krum")
    with pytest.raises(UserError, match=r"2 of the 3 clients that federation\.strategy asks for"):
        runner.run_round(1)


def test_sampled_clients_depend_on_the_round_only():
    def sample():
        grid = AddingGrid()
        runner = build_runner(grid, fraction_train=0.6)
        for number in (1, 2, 3):
            runner.run_round(number)
        return grid.list_clients(MessageType.TRAIN)

    clients = sample()
    assert len(clients) == 6
    assert set(clients) == {0, 1, 2}
    assert sample() == clients


def test_round_beyond_the_budget_sends_nothing():
    grid = AddingGrid()
    runner = build_runner(grid, communication={"budget_mb": 1e-3})
    with pytest.raises(OverBudgetError, match="round 1 would move"):
        runner.run_round(1)
    assert grid.list_clients(MessageType.TRAIN) == []


def test_budget_counts_what_was_moved():
    [first, second] = (build_runner(AddingGrid()).run_round(1).to_record() for _ in range(2))
    moved = first.bytes_moved
    assert second.bytes_moved == moved
    runner = build_runner(AddingGrid(), communication={"budget_mb": 1.5e-6 * moved})
    runner.run_round(1)
    with pytest.raises(OverBudgetError, match="round 2 would move"):
        runner.run_round(2)


def test_clients_evaluate_the_new_adapter():
    grid = AddingGrid()
    runner = build_runner(grid, fraction_evaluate=1.0)
    evaluation = runner.run_round(1).client_evaluation
    assert (evaluation.loss, [c.loss for c in evaluation.clients]) == (3.0, [2.0, 3.0, 4.0])
    assert grid.list_clients(MessageType.EVALUATE) == [0, 1, 2]
    request = decode_request(grid.sent[-1].content)
    assert (request.round, request.last_participation) == (2, 1)
    assert torch.equal(request.state[A], runner.state.adapter[A])


def test_clients_do_not_evaluate_beyond_the_budget():
    moved = build_runner(AddingGrid()).run_round(1).to_record().bytes_moved
    grid = AddingGrid()
    budget = {"budget_mb": 1.2e-6 * moved}
    result = build_runner(grid, fraction_evaluate=1.0, communication=budget).run_round(1)
    assert result.client_evaluation is None
    assert grid.list_clients(MessageType.EVALUATE) == []


def test_scaffold_takes_plain_means_of_updates_and_control_variates():
    runner = build_runner(AddingGrid(), strategy="scaffold", client_weights="held")
    runner.run_round(1)
    assert torch.allclose(runner.state.adapter[A], ADAPTER[A] + 2.0)
    assert torch.allclose(runner.state.control_variate[A], torch.full((8, 3), 3.0))


def test_privacy_cost_grows_with_the_rounds():
    runner = build_runner(AddingGrid(), aggregation="ffa", privacy={"noise_multiplier": 2.0})
    one, two = (runner.run_round(number).privacy.epsilon for number in (1, 2))
    assert 0 < one < two
