"""Flower's ClientApp: identify the client, train, and evaluate."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from flwr.app import Context, Message, MessageType, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from blossomtune.federation.client.node_config import get_client, load_node_run
from blossomtune.federation.messages.nudge import NUDGE_ACTION
from blossomtune.federation.run import FederatedRun

if TYPE_CHECKING:
    from blossomtune.federation.client.state_store import ClientStateStore
    from blossomtune.federation.messages.requests import TrainRequest


def build_client_app(load_run: Callable[[Context], FederatedRun]) -> ClientApp:
    """Build a ClientApp.

    Args:
        load_run: Function that returns the run of a context.

    Returns:
        The app. It answers query, nudge, train and evaluate messages.
    """

    def clip_update(
        message: Message, context: Context, call_next: Callable[[Message, Context], Message]
    ) -> Message:
        """Clip the trained adapter with Flower's mod, if clients clip."""
        if message.metadata.message_type != MessageType.TRAIN:
            return call_next(message, context)
        from blossomtune.privacy import clipping

        privacy = load_run(context).spec.federation.privacy
        mod = clipping.build_clipping_mod(privacy) if privacy else None
        return mod(message, context, call_next) if mod else call_next(message, context)

    app = ClientApp(mods=[clip_update])

    @app.query()
    def identify(message: Message, context: Context) -> Message:
        """Reply with the client's number and versions after the model is loaded and checked."""
        from blossomtune.federation.client.worker import get_worker
        from blossomtune.federation.messages.records import METRICS_RECORD, VERSIONS_RECORD
        from blossomtune.federation.messages.versions import encode_versions

        run = load_run(context)
        client = get_client(context, run.spec)
        get_worker(run).check_model(client)
        metrics = MetricRecord({"client": client})
        content = RecordDict({METRICS_RECORD: metrics, VERSIONS_RECORD: encode_versions()})
        return Message(content, reply_to=message)

    @app.query(NUDGE_ACTION)
    def answer_nudge(message: Message, _: Context) -> Message:
        """Reply without loading anything."""
        return Message(RecordDict(), reply_to=message)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        """Train the adapter in the message on the client's rows."""
        from blossomtune.federation.client.train import train_round
        from blossomtune.federation.messages import replies

        run = load_run(context)
        request = _read_request(run, message)
        client = get_client(context, run.spec)
        store = _open_state_store(run, request.run_name, client)
        client_state = store.load(request.last_participation) if store else {}
        reply = train_round(run, client, request, client_state)
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

        run = load_run(context)
        request = _read_request(run, message)
        client = get_client(context, run.spec)
        store = _open_state_store(run, request.run_name, client)
        client_state = store.load(request.last_participation) if store else {}
        metrics = evaluate_round(run, client, request, client_state)
        content = RecordDict({METRICS_RECORD: MetricRecord({**metrics})})
        return Message(content, reply_to=message)

    return app


def _read_request(run: FederatedRun, message: Message) -> "TrainRequest":
    from blossomtune.federation.client.request_checks import read_request
    from blossomtune.federation.client.worker import get_worker

    # an adapter is evaluated with the number of the round that would train it
    is_evaluation = message.metadata.message_type == MessageType.EVALUATE
    max_round = run.spec.federation.rounds + is_evaluation
    return read_request(message.content, run.spec, get_worker(run).initial_state, max_round)


def _open_state_store(run: FederatedRun, run_name: str, client: int) -> "ClientStateStore | None":
    """Return the client's store, or None if it keeps no state between rounds."""
    from blossomtune.federation.client.state_store import ClientStateStore

    if not run.spec.has_client_state:
        return None
    folder = run.paths.checkpoints / run_name / "clients" / str(client)
    return ClientStateStore(folder, keep_last=run.spec.federation.keep_checkpoints)


app = build_client_app(load_node_run)
