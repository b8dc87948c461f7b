"""The ClientApp: says which client it is, trains when asked, and scores what it is sent."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from flwr.app import Context, Message, MessageType, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable

from blossomtune.federation.run import FederatedRun

if TYPE_CHECKING:
    from blossomtune.federation.client.state_store import ClientStateStore


def build_client_app(load_run: Callable[[Context], FederatedRun]) -> ClientApp:
    """A ClientApp for the run that ``job_of`` finds in its context."""

    def clip_update(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        """Clips a trained adapter where the client is to do it; by Flower's own mod."""
        from blossomtune.privacy import clipping

        chosen = load_run(context).spec.federation.privacy
        mod = clipping.build_clipping_mod(chosen) if chosen else None
        if mod is None or message.metadata.message_type != MessageType.TRAIN:
            return call_next(message, context)
        return mod(message, context, call_next)

    new = ClientApp(mods=[clip_update])

    @new.query()
    def identify(message: Message, context: Context) -> Message:
        """Answers with the client's number, once the model is loaded and ready to train."""
        from blossomtune.federation.client.worker import get_worker
        from blossomtune.federation.messages.records import METRICS_RECORD

        get_worker(load_run(context))
        return Message(
            RecordDict({METRICS_RECORD: MetricRecord({"client": _get_partition_id(context)})}),
            reply_to=message,
        )

    @new.train()
    def train(message: Message, context: Context) -> Message:
        """Trains on the client's rows, from the adapter in the message."""
        from blossomtune.federation.client.train import train_round
        from blossomtune.federation.messages import replies, requests

        run, order = load_run(context), requests.decode_request(message.content)
        memory = _open_state_store(run, order.run_name, context)
        kept = memory.load(order.last_participation) if memory else {}
        given = train_round(run, _get_partition_id(context), order, kept)
        content, kept = replies.encode_train_reply(
            given, run.spec.federation.communication.precision
        )
        if memory:
            memory.save(order.round, kept)
        return Message(content, reply_to=message)

    @new.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        """Scores the adapter in the message on rows that the client holds out."""
        from blossomtune.federation.client.train import evaluate_round
        from blossomtune.federation.messages.records import METRICS_RECORD
        from blossomtune.federation.messages.requests import decode_request

        run, order = load_run(context), decode_request(message.content)
        memory = _open_state_store(run, order.run_name, context)
        kept = memory.load(order.last_participation) if memory else {}
        found = evaluate_round(run, _get_partition_id(context), order, kept)
        return Message(RecordDict({METRICS_RECORD: MetricRecord(found)}), reply_to=message)

    return new


def _get_partition_id(context: Context) -> int:
    return int(context.node_config["partition-id"])


def _open_state_store(
    run: FederatedRun, run_name: str, context: Context
) -> "ClientStateStore | None":
    """Where a client keeps what it needs in its next round; None where that is nothing."""
    from blossomtune.federation.client.state_store import ClientStateStore

    if not run.spec.has_client_state:
        return None
    folder = run.paths.checkpoints / run_name / "clients" / str(_get_partition_id(context))
    return ClientStateStore(folder, keep_last=run.spec.federation.keep_checkpoints)


app = build_client_app(lambda context: FederatedRun.load(str(context.run_config["run"])))
