"""The ServerApp: rounds, the server's own evaluation, and what is written at the end."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from blossomtune.federation.job import Job, identity
from blossomtune.files import write_json

if TYPE_CHECKING:
    from blossomtune.federation.adapter import State


def server_app(job_of: Callable[[Context], Job]) -> ServerApp:
    """A ServerApp for the job that ``job_of`` finds in its context."""
    new = ServerApp()

    @new.main()
    def main(grid: Grid, context: Context) -> None:
        """Runs the federation and writes its adapter and history."""
        serve(grid, job_of(context))

    return new


def serve(grid: Grid, job: Job) -> None:
    """Runs the rounds of a job that are not done yet, then writes the adapter and history.json.

    Every round is kept as a checkpoint, so that a run that was stopped goes on after it.

    Raises:
        UserError: where too few clients take part, or answer a round.
    """
    import torch

    from blossomtune.encoding import load_tokenizer, pad_id
    from blossomtune.federation import adapter
    from blossomtune.federation.checkpoints import Checkpoint, Checkpoints
    from blossomtune.federation.held_out import HeldOut
    from blossomtune.federation.rounds import Federation, Round
    from blossomtune.modeling import load_model

    device = "cuda" if job.federation.gpus_per_client and torch.cuda.is_available() else "cpu"
    total = job.federation.rounds
    checkpoints = Checkpoints(job.checkpoints, identity(job, device))
    model = adapter.attach(load_model(job.model), job.lora, job.seed)
    tokenizer = load_tokenizer(job.model)
    held_out = HeldOut(job.preprocessed, job.federation.evaluate_rows, job.seed)

    def evaluate(result: Round, state: "State") -> Round:
        if held_out.rows:
            torch.set_num_threads(job.cores)  # nobody trains meanwhile
            adapter.write(model, state)
            result.evaluation = held_out.score(model, pad_id(tokenizer))
        return result

    last = checkpoints.latest(upto=total)
    done = last.round if last else 0
    if last:
        print(f"going on after round {done}, which is done", flush=True)
    for difference in [] if last else checkpoints.others()[:1]:
        print(f"starting with round 1: earlier rounds had {difference}", flush=True)
    if done < total:
        federation = Federation(grid, job, last.state if last else adapter.read(model))
        if not last:
            state = federation.state
            last = Checkpoint(0, state, [evaluate(Round(0), state).record()])
        print(_line(last.history[-1], total, 0.0), flush=True)
        started = time.monotonic()
        for number in range(done + 1, total + 1):
            record = evaluate(federation.run(number), federation.state).record()
            last = Checkpoint(number, federation.state, [*last.history, record])
            checkpoints.save(last)
            spent = (time.monotonic() - started) / (number - done)
            print(_line(record, total, spent * (total - number)), flush=True)
    adapter.save(last.state, job.lora, job.base_name, job.adapter)
    names = [client.name for client in job.clients]
    write_json(job.history, {"clients": names, "device": device, "rounds": last.history})


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
