"""Tests of Flower's ClientApp."""

import pytest
import torch
from flwr.app import Context, Message, MessageType, RecordDict

from blossomtune.errors import UserError
from blossomtune.federation.client.client_app import build_client_app
from blossomtune.federation.client.train import train_round
from blossomtune.federation.client.worker import get_worker
from blossomtune.federation.messages import codec
from blossomtune.federation.messages.requests import decode_request, encode_request
from blossomtune.federation.messages.versions import decode_versions
from blossomtune.federation.server.strategies import ServerStrategy
from blossomtune.package_versions import get_package_versions
from blossomtune.training.adapter import select_factor
from blossomtune.version import __version__

RUN_NAME = "0123456789abcdef"


@pytest.fixture
def ask(flower_task):
    """Return a function that sends a message to a client's app and returns the reply's content."""

    def send(run, message_type, content=None, client=0):
        context = Context(0, 7, {"partition-id": client}, RecordDict(), {})
        message = Message(content or RecordDict(), 7, message_type)
        return build_client_app(lambda _: run)(message, context).content

    return send


def encode(run, number=1, last=0, run_name=RUN_NAME, **keywords):
    """Return a message with the initial adapter, as the server sends it."""
    factor = "B" if run.spec.federation.aggregation == "ffa" else "both"
    record, _ = codec.encode(select_factor(get_worker(run).initial_state, factor), "float32")
    return encode_request(record, number, last, number - 1, run_name, **keywords)


def test_query_is_answered_with_the_client_s_number(build_run, ask):
    content = ask(build_run(), MessageType.QUERY, client=1)
    assert content.metric_records["metrics"]["client"] == 1
    assert decode_versions(content) == {"blossomtune": __version__, **get_package_versions()}


def test_train_message_is_answered_with_the_trained_adapter(build_run, ask):
    run = build_run()
    content = ask(run, MessageType.TRAIN, encode(run), client=1)
    expected = train_round(run, 1, decode_request(encode(run)), {})
    trained = codec.decode(content.array_records["adapter"])
    assert all(torch.equal(trained[name], value) for name, value in expected.state.items())
    assert content.metric_records["metrics"]["num-examples"] == 4


def test_evaluate_message_is_answered_with_loss_and_rows(build_run, ask):
    run = build_run()
    metrics = ask(run, MessageType.EVALUATE, encode(run), client=1).metric_records["metrics"]
    assert metrics["loss"] > 0 and metrics["rows"] == 3


def test_state_is_kept_per_run_and_client_between_rounds(build_run, ask):
    run = build_run(optimizer_state="kept")
    ask(run, MessageType.TRAIN, encode(run, 1), client=1)
    second = ask(run, MessageType.TRAIN, encode(run, 2, last=1), client=1)
    folder = run.paths.checkpoints / RUN_NAME / "clients"
    assert [path.name for path in folder.iterdir()] == ["1"]
    fresh = ask(run, MessageType.TRAIN, encode(run, 2, last=0), client=1)
    one, other = (codec.decode(content.array_records["adapter"]) for content in (second, fresh))
    assert not all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(UserError, match="after its round 1 is missing"):
        ask(run, MessageType.TRAIN, encode(run, 2, last=1, run_name="f" * 16), client=1)


def test_client_without_state_writes_nothing(build_run, ask):
    run = build_run()
    ask(run, MessageType.TRAIN, encode(run))
    assert not run.paths.checkpoints.exists()


def test_name_of_a_run_that_is_a_path_is_rejected(build_run, ask):
    run = build_run(optimizer_state="kept")
    with pytest.raises(ValueError, match="which is no run's name"):
        ask(run, MessageType.TRAIN, encode(run, run_name="../elsewhere"))


def test_client_side_privacy_clips_the_update(build_run, ask):
    privacy = {"side": "client", "clipping": "adaptive", "clipping_norm": 1e-3}
    run = build_run(aggregation="ffa", privacy=privacy)
    settings = ServerStrategy(run.spec.federation, run.spec.seed, {}).configure_train()
    content = ask(run, MessageType.TRAIN, encode(run, extra_config=settings))
    change = codec.decode(content.array_records["adapter"])  # B starts at zero
    norm = torch.cat([value.flatten() for value in change.values()]).norm()
    assert float(norm) == pytest.approx(1e-3, rel=1e-4)
