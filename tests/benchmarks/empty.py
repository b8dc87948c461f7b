"""A Flower app that does nothing: Flower's own FedAvg averages one number of each client."""

import time
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

server = ServerApp()
client = ClientApp()


@client.train()
def train(message: Message, _: Context) -> Message:
    """Sends back what came."""
    arrays = next(iter(message.content.array_records.values()))
    content = {"arrays": arrays, "metrics": MetricRecord({"num-examples": 1})}
    return Message(RecordDict(content), reply_to=message)


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Notes the time after each round."""
    file = Path(str(context.run_config["times"]))

    def note(number: int, _: ArrayRecord) -> None:
        with file.open("a") as times:
            times.write(f"{time.monotonic()}\n")

    FedAvg(fraction_evaluate=0.0, min_train_nodes=2, min_available_nodes=2).start(
        grid=grid,
        initial_arrays=ArrayRecord([np.zeros(1)]),
        num_rounds=int(context.run_config["rounds"]),
        evaluate_fn=note,
    )
