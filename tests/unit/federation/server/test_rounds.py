"""Tests of the server's rounds, with clients whose updates are known."""

import json
import math

import pytest
import torch
from artifact_samples import round_record, server_evaluation
from federation_samples import federation_spec
from flwr.app import Error, Message, MessageType, MetricRecord, RecordDict

from blossomtune.config.training import TrainingSettings
from blossomtune.deployment.flower_internal import set_message_id
from blossomtune.errors import UserError
from blossomtune.federation.messages import replies
from blossomtune.federation.messages.replies import TrainReply
from blossomtune.federation.messages.requests import decode_request
from blossomtune.federation.messages.versions import encode_versions
from blossomtune.federation.server.budget import OverBudgetError
from blossomtune.federation.server.quarantine import NODE_UNAVAILABLE
from blossomtune.federation.server.rounds import RoundRunner
from blossomtune.federation.server.server_state import ServerState
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
        updates: What a client adds instead, by client.
        error_code: Code of the errors.

    Attributes:
        connected: Clients that are connected.
    """

    def __init__(self, failing=(), loss=2.0, updates=None, error_code=0):
        self.connected = range(len(NAMES))
        self.failing, self.loss, self.updates = failing, loss, updates or {}
        self.error_code = error_code
        self.sent, self.pending = [], {}
        self.precision = "float32"

    def get_node_ids(self):
        return [100 + client for client in self.connected]

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
            reply = self.reply(message, {"client": client})
            reply.content["versions"] = encode_versions()
            return reply
        if client in self.failing:
            return Message(Error(self.error_code, "Message: no memory"), reply_to=message)
        if kind == MessageType.EVALUATE:
            return self.reply(message, {"loss": self.loss + client, "rows": 2.0})
        request = decode_request(message.content)
        update = self.updates.get(client, client + 1)
        state = {name: value + update for name, value in request.state.items()}
        control = None
        if request.server_control is not None:
            control = {name: torch.full_like(v, 3.0) for name, v in request.server_control.items()}
        metrics = dict.fromkeys(replies.TRAIN_METRICS, 1.0) | {"num-examples": TRAINED[client]}
        reply = TrainReply(request.state, state, control, metrics, {})
        return Message(replies.encode_train_reply(reply, self.precision)[0], reply_to=message)

    @staticmethod
    def reply(message, metrics):
        return Message(RecordDict({"metrics": MetricRecord(metrics)}), reply_to=message)

    def list_clients(self, message_type):
        """Return the clients that were sent a message of a type, in order."""
        sent = [m.metadata for m in self.sent if m.metadata.message_type == message_type]
        return [metadata.dst_node_id - 100 for metadata in sent]


def build_runner(grid, training=None, **federation):
    keys = {"round_timeout": 5, "rounds": 4} | federation
    clients = tuple(
        ClientSpec(name=name, num_rows=rows, rank=8) for name, rows in zip(NAMES, HELD, strict=True)
    )
    spec = federation_spec(training=training, **keys).model_copy(update={"clients": clients})
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


def test_clients_that_are_not_connected_are_absent_and_train_when_they_are_back():
    grid, rounds = AddingGrid(), {1: (0, 1), 2: (0, 1, 2), 3: (2,), 4: (0, 1, 2)}
    grid.connected = rounds[1]
    runner = build_runner(grid, min_available_clients=2)
    for number, grid.connected in rounds.items():
        result = runner.run_round(number)
        assert [client.client for client in result.clients] == list(rounds[number])
        assert result.failed == []
        absent = [name for i, name in enumerate(NAMES) if i not in rounds[number]]
        assert result.to_record().absent == absent
    requests = [decode_request(m.content) for m in grid.sent[-3:]]
    assert [r.sampled_rounds for r in requests] == [2, 2, 2]  # each trained in two rounds
    assert [r.last_participation for r in requests] == [2, 2, 3]


def test_sample_is_of_the_connected_clients():
    grid = AddingGrid()
    runner = build_runner(grid, fraction_train=0.34, rounds=9)
    grid.connected = [1, 2]
    for number in range(1, 9):
        [client] = runner.run_round(number).clients
        assert client.client in (1, 2)


def test_privacy_samples_all_clients_since_epsilon_assumes_it():
    grid = AddingGrid()
    runner = build_runner(grid, fraction_train=0.34, rounds=9, privacy={})
    grid.connected = [0]  # messages reach the others all the same
    for number in range(1, 9):
        assert runner.run_round(number).absent == ["south", "west"]
    assert {1, 2} <= set(grid.list_clients(MessageType.TRAIN))


def test_client_in_quarantine_is_not_asked_until_a_restart():
    grid = AddingGrid(failing=[1])
    runner = build_runner(grid, quarantine=2)
    reasons = [[f.reason for f in runner.run_round(number).failed] for number in (1, 2, 3)]
    assert reasons == [
        ["no memory"],
        ["no memory; in quarantine after 2 failures in a row"],
        ["in quarantine; a restarted run asks it again"],
    ]
    assert grid.list_clients(MessageType.TRAIN) == [0, 1, 2, 0, 1, 2, 0, 2]
    restarted = build_runner(grid, quarantine=2)
    assert len(restarted.run_round(1).failed) == 1
    assert grid.list_clients(MessageType.TRAIN)[-3:] == [0, 1, 2]


def test_client_in_quarantine_is_not_asked_for_its_loss():
    grid = AddingGrid(failing=[1])
    runner = build_runner(grid, quarantine=1, fraction_evaluate=1.0)
    evaluation = runner.run_round(1).client_evaluation
    assert [client.client for client in evaluation.clients] == [0, 2]
    assert grid.list_clients(MessageType.EVALUATE) == [0, 2]


def test_client_that_is_not_connected_is_asked_again():
    grid = AddingGrid(failing=[1], error_code=NODE_UNAVAILABLE)
    runner = build_runner(grid, quarantine=1)
    for number in (1, 2, 3):
        runner.run_round(number)
    assert grid.list_clients(MessageType.TRAIN) == [0, 1, 2] * 3


def test_quarantine_does_not_change_the_adapter():
    adapters = []
    for quarantine in (0, 1):
        runner = build_runner(AddingGrid(failing=[1]), quarantine=quarantine, fraction_train=0.6)
        for number in range(1, 5):
            runner.run_round(number)
        adapters.append(runner.state.adapter)
    assert all(torch.equal(adapters[0][name], adapters[1][name]) for name in ADAPTER)


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


METHODS = {
    "fedavg": {},
    "momentum": {"strategy": "fedavgm"},
    "adam": {"strategy": "fedadam"},
    "control variates": {"strategy": "scaffold"},
    "a changed base": {"aggregation": "fedex"},
    "products": {"aggregation": "flexlora"},
    "padding": {"aggregation": "hetlora"},
    "noise": {"aggregation": "ffa", "privacy": {"clipping": "adaptive"}},
    "remainders": {"communication": {"precision": "int8"}},
}


def build_learning_runner(grid, **keys):
    """Return a runner whose largest update is 1.0 per number, in a round of one step."""
    training = TrainingSettings(learning_rate_max=0.05, arguments={"max_steps": 1})
    runner = build_runner(grid, training=training, max_update_norm=20.0, **keys)
    grid.precision = keys.get("communication", {}).get("precision", "float32")
    return runner


@pytest.mark.parametrize("keys", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("update", [1e30, -2.0])
def test_client_with_a_huge_update_is_as_if_it_was_absent(keys, update):
    honest = {0: 0.5, 1: 0.25}
    attacked = build_learning_runner(AddingGrid(updates=honest | {2: update}), **keys)
    absent = build_learning_runner(AddingGrid(failing=[2], updates=honest), **keys)
    for number in (1, 2):
        [failure] = attacked.run_round(number).failed
        assert failure.name == "west"
        assert "federation.max_update_norm allows" in failure.reason
        absent.run_round(number)
    assert_same_state(attacked.state, absent.state)


def assert_same_state(first, second):
    assert first.last_participation == second.last_participation
    one, other = (s.adapter | s.state_dict() for s in (first, second))
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("keys", METHODS.values(), ids=METHODS)
def test_round_whose_held_out_loss_is_not_finite_changes_nothing(keys):
    """The next round of the same runner equals that of a run resumed from the checkpoint."""
    grid = AddingGrid(updates={0: 0.5, 1: 0.25, 2: 0.125})
    runner = build_learning_runner(grid, **keys)
    history = [round_record(0), runner.run_round(1).to_record()]
    before = Checkpoint(1, runner.state.adapter, history, runner.state.state_dict())
    result = runner.run_round(2, lambda state: server_evaluation(math.nan))
    record = result.to_record()
    assert (record.rejection, record.evaluation) == ("the held-out loss is nan", None)
    assert [client.client for client in record.clients] == [0, 1, 2]
    json.dumps(record.model_dump(mode="json"), allow_nan=False)
    resumed = build_learning_runner(grid, **keys)
    rejected = Checkpoint(2, runner.state.adapter, [*history, record], runner.state.state_dict())
    resumed.state = ServerState(resumed._spec, rejected)
    assert_same_state(runner.state, ServerState(resumed._spec, before))
    for each in (runner, resumed):
        result = each.run_round(3, lambda state: server_evaluation(2.0))
        assert (result.rejection, result.evaluation.loss) == (None, 2.0)
    assert_same_state(runner.state, resumed.state)
    assert runner.state.last_participation == dict.fromkeys(range(3), 3)


@pytest.mark.parametrize("aggregation", ["flexlora", "fedex"])
def test_round_whose_result_is_not_finite_changes_nothing(aggregation):
    """Without a limit of the norm, finite updates can be too large for any average."""
    grid = AddingGrid(updates={0: 3e38, 1: -3e38, 2: 3e38})
    runner = build_runner(grid, aggregation=aggregation, fraction_evaluate=1.0)
    result = runner.run_round(1, lambda state: server_evaluation(2.0))
    assert result.rejection
    assert (result.evaluation, result.client_evaluation, result.drift) == (None, None, None)
    assert all(torch.equal(value, ADAPTER[n]) for n, value in runner.state.adapter.items())
    assert runner.state.last_participation == {}
    json.dumps(result.to_record().model_dump(mode="json"), allow_nan=False)


def test_privacy_cost_grows_with_the_rounds():
    runner = build_runner(AddingGrid(), aggregation="ffa", privacy={"noise_multiplier": 2.0})
    one, two = (runner.run_round(number).privacy.epsilon for number in (1, 2))
    assert 0 < one < two
