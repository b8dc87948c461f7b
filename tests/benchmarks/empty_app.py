"""A Flower app without training: Flower's FedAvg averages one number per client."""

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
    """Reply with the received arrays."""
    arrays = next(iter(message.content.array_records.values()))
    content = {"arrays": arrays, "metrics": MetricRecord({"num-examples": 1})}
    return Message(RecordDict(content), reply_to=message)


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Write the time after each round to a file."""
    file = Path(str(context.run_config["times"]))

    def write_time(_: int, __: ArrayRecord) -> None:
        with file.open("a") as times:
            times.write(f"{time.monotonic()}\n")

    FedAvg(fraction_evaluate=0.0, min_train_nodes=2, min_available_nodes=2).start(
        grid=grid,
        initial_arrays=ArrayRecord([np.zeros(1)]),
        num_rounds=int(context.run_config["rounds"]),
        evaluate_fn=write_time,
    )
