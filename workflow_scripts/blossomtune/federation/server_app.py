"""The ServerApp: rounds, the server's own evaluation, and what is written at the end."""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from blossomtune.federation.job import Job, identity
from blossomtune.files import write_json

if TYPE_CHECKING:
    from blossomtune.federation.checkpoints import Checkpoint


def server_app(job_of: Callable[[Context], Job]) -> ServerApp:
    """A ServerApp for the job that ``job_of`` finds in its context."""
    new = ServerApp()

    @new.main()
    def main(grid: Grid, context: Context) -> None:
        """Runs the federation and writes its adapter and history."""
        serve(grid, job_of(context))

    return new


def serve(grid: Grid, job: Job, owners: Mapping[int, int] | None = None) -> None:
    """Runs the rounds of a job that are not done yet, then writes the adapter and history.json.

    Every round is kept as a checkpoint, so that a run that was stopped goes on after it.

    Args:
        grid: the nodes.
        job: the federation.
        owners: the client whose key a node has, by node id, where nodes have keys.

    Raises:
        UserError: where too few clients take part or answer a round, or the budget is too small
            for the first one.
    """
    from blossomtune.federation import progress
    from blossomtune.federation.checkpoints import Checkpoint, Checkpoints
    from blossomtune.federation.judge import Judge
    from blossomtune.federation.limit import Limit
    from blossomtune.federation.rounds import Federation, OverBudgetError, Round
    from blossomtune.gpus import Sampler, visible

    federation, total = job.federation, job.federation.rounds
    kept = federation.keep_checkpoints
    checkpoints = Checkpoints(job.checkpoints, identity(job, job.device), keep=kept)
    judge = Judge(job)
    last = checkpoints.latest(upto=total)
    done = last.round if last else 0
    if last:
        print(f"going on after round {done}, which is done", flush=True)
    if last is None and checkpoints.later(total):
        print(f"starting with round 1: of the first {total} rounds none is kept", flush=True)
    for difference in [] if last else checkpoints.others()[:1]:
        print(f"starting with round 1: earlier rounds had {difference}", flush=True)
    last = last or Checkpoint(0, judge.initial, [])
    # After the last round nothing is left to stop, whatever the losses say.
    stopped = progress.reason_to_stop(last.history, federation) if done < total else None
    if done < total and not stopped:
        rounds = Federation(
            grid, job, checkpoints.folder.name, last.state, last.server, last.history, owners
        )
        if not last.history:
            first = Round(0, evaluation=judge.score(judge.initial, {}))
            last.history.append(first.record())
            print(_line(last.history[-1], total, 0.0), flush=True)
        started = time.monotonic()
        limit = Limit(job.until)
        with Sampler(visible() if job.device == "cuda" else []) as gpus:
            for number in range(done + 1, total + 1):
                limit.check(number - 1)
                gpus.take()
                try:
                    result = rounds.run(number)
                except OverBudgetError as error:
                    stopped = str(error)
                    break
                result.gpus = gpus.take()
                if number % federation.evaluate_every == 0 or number == total:
                    result.evaluation = judge.score(rounds.state, rounds.folded)
                history = [*last.history, result.record()]
                last = Checkpoint(number, rounds.state, history, rounds.server())
                best = progress.best_round(history, federation)
                checkpoints.save(last, best=best == number)
                spent = (time.monotonic() - started) / (number - done)
                print(_line(history[-1], total, spent * (total - number)), flush=True)
                if number < total and (stopped := progress.reason_to_stop(history, federation)):
                    break
    if stopped:
        print(f"stopped: {stopped}", flush=True)
    _finish(job, last, checkpoints.best(upto=last.round), stopped)


def _finish(job: Job, last: "Checkpoint", best: "Checkpoint | None", stopped: str | None) -> None:
    """Writes what came out.

    Raises:
        UserError: where not one round was trained.
    """
    from blossomtune.config.adapters import scale
    from blossomtune.errors import UserError
    from blossomtune.federation import adapter, progress
    from blossomtune.federation.aggregation import stack
    from blossomtune.federation.combining import one_thread
    from blossomtune.federation.naming import below, unnamed

    federation = job.federation
    if last.round == 0:
        raise UserError(f"no round was trained: {stopped}", "raise the budget")
    number = progress.best_round(last.history, federation)
    result = last
    if federation.result == "best" and number not in (None, last.round):
        if best is None or best.round != number:
            raise UserError(
                f"the best round was {number}, and its checkpoint is gone",
                f"remove {job.checkpoints} and train again, or use federation.result: last",
            )
        result = best
    folded = unnamed(below("fold", result.server))
    if folded:
        ours = scale(job.lora, job.lora.r)
        with one_thread():
            products = stack(result.state, ours, [folded[n] for n in sorted(folded)])
        adapter.save_products(products, job.lora, job.base_name, job.adapter)
    else:
        adapter.save(result.state, job.lora, job.base_name, job.adapter)
    history: dict[str, Any] = {
        "clients": [client.name for client in job.clients],
        "ranks": [client.rank for client in job.clients],
        "device": job.device,
        "strategy": federation.strategy.name,
        "aggregation": federation.aggregation,
        "precision": federation.communication.precision,
        "stopped": stopped,
        "best_round": number,
        "result_round": result.round,
        "privacy": None,
        "rounds": last.history,
    }
    if federation.privacy:
        spent = last.history[-1]["privacy"]
        told = federation.privacy.model_dump(include={"noise_multiplier", "clipping", "side"})
        history["privacy"] = told | {k: spent[k] for k in ("epsilon", "delta")}
    write_json(job.history, history)


def _line(record: dict, rounds: int, left: float) -> str:
    """A round in one line for people."""
    parts = [f"round {record['round']}/{rounds}"]
    if record["clients"]:
        parts.append(f"train loss {record['train_loss']:.4f}")
    if record["evaluation"]:
        parts.append(f"held-out loss {record['evaluation']['loss']:.4f}")
    scored = record["client_evaluation"] or {"clients": [], "failed": []}
    if scored["clients"]:
        parts.append(f"clients' loss {scored['loss']:.4f}")
    if record["clients"]:
        asked = len(record["clients"]) + len(record["failed"])
        moved = (record["bytes_down"] + record["bytes_up"]) / 1e6
        parts += [f"{len(record['clients'])} of {asked} clients", f"{record['seconds']:.0f} s"]
        parts += [f"{moved:.1f} MB", f"about {left:.0f} s left"]
    if record["privacy"]:
        parts.append(f"epsilon {record['privacy']['epsilon']:.2f}")
    failed = [
        f"\n  {what}: client {f['client']} ({f['name']}): {f['reason']}"
        for what, those in (("failed", record["failed"]), ("gave no loss", scored["failed"]))
        for f in those
    ]
    return " · ".join(parts) + "".join(failed)


app = server_app(lambda context: Job.read(str(context.run_config["job"])))
