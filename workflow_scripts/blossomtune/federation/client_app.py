"""The ClientApp: says which client it is, trains when asked, and scores what it is sent."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from flwr.app import Context, Message, MessageType, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable

from blossomtune.federation.job import Job

if TYPE_CHECKING:
    from blossomtune.federation.memory import Memory


def client_app(job_of: Callable[[Context], Job]) -> ClientApp:
    """A ClientApp for the job that ``job_of`` finds in its context."""

    def clip(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        """Clips a trained adapter where the client is to do it; by Flower's own mod."""
        from blossomtune.federation import privacy

        chosen = job_of(context).federation.privacy
        mod = privacy.mod(chosen) if chosen else None
        if mod is None or message.metadata.message_type != MessageType.TRAIN:
            return call_next(message, context)
        return mod(message, context, call_next)

    new = ClientApp(mods=[clip])

    @new.query()
    def introduce(message: Message, context: Context) -> Message:
        """Answers with the client's number, once the model is loaded and ready to train."""
        from blossomtune.federation.messages import METRICS
        from blossomtune.federation.worker import warm

        warm(job_of(context))
        return Message(
            RecordDict({METRICS: MetricRecord({"client": _me(context)})}), reply_to=message
        )

    @new.train()
    def train(message: Message, context: Context) -> Message:
        """Trains on the client's rows, from the adapter in the message."""
        from blossomtune.federation import messages
        from blossomtune.federation.worker import train_round

        job, order = job_of(context), messages.read_order(message.content)
        memory = _memory(job, order.run, context)
        kept = memory.load(order.last) if memory else {}
        given = train_round(job, _me(context), order, kept)
        content, kept = messages.answer(given, job.federation.communication.precision)
        if memory:
            memory.save(order.round, kept)
        return Message(content, reply_to=message)

    @new.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        """Scores the adapter in the message on rows that the client holds out."""
        from blossomtune.federation.messages import METRICS, read_order
        from blossomtune.federation.worker import evaluate_round

        job, order = job_of(context), read_order(message.content)
        memory = _memory(job, order.run, context)
        kept = memory.load(order.last) if memory else {}
        found = evaluate_round(job, _me(context), order, kept)
        return Message(RecordDict({METRICS: MetricRecord(found)}), reply_to=message)

    return new


def _me(context: Context) -> int:
    return int(context.node_config["partition-id"])


def _memory(job: Job, run: str, context: Context) -> "Memory | None":
    """Where a client keeps what it needs in its next round; None where that is nothing."""
    from blossomtune.federation.memory import Memory

    if not job.keeps:
        return None
    folder = job.checkpoints / run / "clients" / str(_me(context))
    return Memory(folder, keep=job.federation.keep_checkpoints)


app = client_app(lambda context: Job.read(str(context.run_config["job"])))
