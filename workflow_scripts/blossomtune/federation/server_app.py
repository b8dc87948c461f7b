"""The ServerApp: rounds, the server's own evaluation, and what is written at the end."""

import time
from collections.abc import Callable

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from blossomtune.federation.job import Job
from blossomtune.files import write_json


def server_app(job_of: Callable[[Context], Job]) -> ServerApp:
    """A ServerApp for the job that ``job_of`` finds in its context."""
    new = ServerApp()

    @new.main()
    def main(grid: Grid, context: Context) -> None:
        """Runs the federation and writes its adapter and history."""
        serve(grid, job_of(context))

    return new


def serve(grid: Grid, job: Job) -> None:
    """Runs all rounds of a job, then writes the adapter and history.json.

    Raises:
        UserError: where too few clients take part, or answer a round.
    """
    import torch

    from blossomtune.encoding import load_tokenizer, pad_id
    from blossomtune.federation import adapter
    from blossomtune.federation.held_out import HeldOut
    from blossomtune.federation.rounds import Federation, Round
    from blossomtune.modeling import load_model

    model = adapter.attach(load_model(job.model), job.lora, job.seed)
    federation = Federation(grid, job, adapter.read(model))
    tokenizer = load_tokenizer(job.model)
    held_out = HeldOut(job.preprocessed, job.federation.evaluate_rows, job.seed)

    def evaluate(result: Round) -> Round:
        if held_out.rows:
            torch.set_num_threads(job.cores)  # nobody trains meanwhile
            adapter.write(model, federation.state)
            result.evaluation = held_out.score(model, pad_id(tokenizer))
        return result

    total = job.federation.rounds
    started = time.monotonic()
    history = [evaluate(Round(0)).record()]
    print(_line(history[-1], total, 0.0), flush=True)
    for number in range(1, total + 1):
        history.append(evaluate(federation.run(number)).record())
        spent = time.monotonic() - started
        print(_line(history[-1], total, spent / number * (total - number)), flush=True)
    adapter.save(federation.state, job.lora, job.base_name, job.adapter)
    names = [client.name for client in job.clients]
    device = "cuda" if job.federation.gpus_per_client and torch.cuda.is_available() else "cpu"
    write_json(job.history, {"clients": names, "device": device, "rounds": history})


def _line(record: dict, rounds: int, left: float) -> str:
    """A round in one line for people."""
    parts = [f"round {record['round']}/{rounds}"]
    if record["clients"]:
        parts.append(f"train loss {record['train_loss']:.4f}")
    if record["evaluation"]:
        parts.append(f"held-out loss {record['evaluation']['loss']:.4f}")
    if record["clients"]:
        asked = len(record["clients"]) + len(record["failed"])
        moved = (record["bytes_down"] + record["bytes_up"]) / 1e6
        parts += [f"{len(record['clients'])} of {asked} clients", f"{record['seconds']:.0f} s"]
        parts += [f"{moved:.1f} MB", f"about {left:.0f} s left"]
    failed = [
        f"\n  failed: client {f['client']} ({f['name']}): {f['reason']}" for f in record["failed"]
    ]
    return " · ".join(parts) + "".join(failed)


app = server_app(lambda context: Job.read(str(context.run_config["job"])))
