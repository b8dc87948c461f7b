"""Flower's ClientApp: identify the client, train, and evaluate."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from flwr.app import Context, Message, MessageType, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from blossomtune.federation.run import FederatedRun

if TYPE_CHECKING:
    from blossomtune.federation.client.state_store import ClientStateStore


def build_client_app(load_run: Callable[[Context], FederatedRun]) -> ClientApp:
    """Build a ClientApp.

    Args:
        load_run: Function that returns the run of a context.

    Returns:
        The app. It answers query, train and evaluate messages.
    """

    def clip_update(
        message: Message, context: Context, call_next: Callable[[Message, Context], Message]
    ) -> Message:
        """Clip the trained adapter with Flower's mod, if clients clip."""
        from blossomtune.privacy import clipping

        privacy = load_run(context).spec.federation.privacy
        mod = clipping.build_clipping_mod(privacy) if privacy else None
        if mod is None or message.metadata.message_type != MessageType.TRAIN:
            return call_next(message, context)
        return mod(message, context, call_next)

    app = ClientApp(mods=[clip_update])

    @app.query()
    def identify(message: Message, context: Context) -> Message:
        """Reply with the client's number after the model is loaded and checked."""
        from blossomtune.federation.client.worker import get_worker
        from blossomtune.federation.messages.records import METRICS_RECORD

        client = _get_client(context)
        get_worker(load_run(context)).check_model(client)
        metrics = MetricRecord({"client": client})
        return Message(RecordDict({METRICS_RECORD: metrics}), reply_to=message)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        """Train the adapter in the message on the client's rows."""
        from blossomtune.federation.client.train import train_round
        from blossomtune.federation.messages import replies, requests

        run, request = load_run(context), requests.decode_request(message.content)
        store = _open_state_store(run, request.run_name, context)
        client_state = store.load(request.last_participation) if store else {}
        reply = train_round(run, _get_client(context), request, client_state)
        precision = run.spec.federation.communication.precision
        content, client_state = replies.encode_train_reply(reply, precision)
        if store:
            store.save(request.round, client_state)
        return Message(content, reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        """Evaluate the adapter in the message on the client's validation rows."""
        from blossomtune.federation.client.train import evaluate_round
        from blossomtune.federation.messages.records import METRICS_RECORD
        from blossomtune.federation.messages.requests import decode_request

        run, request = load_run(context), decode_request(message.content)
        store = _open_state_store(run, request.run_name, context)
        client_state = store.load(request.last_participation) if store else {}
        metrics = evaluate_round(run, _get_client(context), request, client_state)
        content = RecordDict({METRICS_RECORD: MetricRecord({**metrics})})
        return Message(content, reply_to=message)

    return app


def _get_client(context: Context) -> int:
    return int(context.node_config["partition-id"])


def _open_state_store(
    run: FederatedRun, run_name: str, context: Context
) -> "ClientStateStore | None":
    """Return the client's store, or None if it keeps no state between rounds."""
    from blossomtune.federation.client.state_store import ClientStateStore

    if not run.spec.has_client_state:
        return None
    folder = run.paths.checkpoints / run_name / "clients" / str(_get_client(context))
    return ClientStateStore(folder, keep_last=run.spec.federation.keep_checkpoints)


app = build_client_app(lambda context: FederatedRun.load(str(context.run_config["run"])))
