"""The ClientApp: says which client it is, and trains when asked."""

from collections.abc import Callable

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from blossomtune.federation.job import Job

ADAPTER, ROUND, METRICS = "adapter", "round", "metrics"
"""Names of the records in a message."""


def client_app(job_of: Callable[[Context], Job]) -> ClientApp:
    """A ClientApp for the job that ``job_of`` finds in its context."""
    new = ClientApp()

    @new.query()
    def introduce(message: Message, context: Context) -> Message:
        """Answers with the client's number, once the model is loaded and ready to train."""
        from blossomtune.federation.worker import warm

        warm(job_of(context))
        who = MetricRecord({"client": int(context.node_config["partition-id"])})
        return Message(RecordDict({METRICS: who}), reply_to=message)

    @new.train()
    def train(message: Message, context: Context) -> Message:
        """Trains on the client's rows, from the adapter in the message."""
        from blossomtune.federation.worker import train_round

        state, metrics = train_round(
            job_of(context),
            int(context.node_config["partition-id"]),
            int(message.content[ROUND]["round"]),
            message.content[ADAPTER].to_torch_state_dict(),
        )
        content = RecordDict({ADAPTER: ArrayRecord(state), METRICS: MetricRecord(metrics)})
        return Message(content, reply_to=message)

    return new


app = client_app(lambda context: Job.read(str(context.run_config["job"])))
