"""The ServerApp: rounds, the server's own evaluation, and what is written at the end."""

import time
from collections.abc import Callable, Mapping

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from blossomtune.artifacts.round_record import RoundRecord
from blossomtune.federation.run import FederatedRun
from blossomtune.federation.run_identity import build_run_identity
from blossomtune.federation.server.results import write_results
from blossomtune.federation.server.round_log import format_round


def build_server_app(load_run: Callable[[Context], FederatedRun]) -> ServerApp:
    """A ServerApp for the run that ``job_of`` finds in its context."""
    new = ServerApp()

    @new.main()
    def main(grid: Grid, context: Context) -> None:
        """Runs the federation and writes its adapter and history."""
        run_federation(grid, load_run(context))

    return new


def run_federation(
    grid: Grid, run: FederatedRun, authenticated_clients: Mapping[int, int] | None = None
) -> None:
    """Runs the rounds of a run that are not done yet, then writes the adapter and history.json.

    Every round is kept as a checkpoint, so that a run that was stopped goes on after it.

    Args:
        grid: the nodes.
        run: the federation.
        owners: the client whose key a node has, by node id, where nodes have keys.

    Raises:
        UserError: where too few clients take part or answer a round, or the budget is too small
            for the first one.
    """
    from blossomtune.federation.server import early_stopping
    from blossomtune.federation.server.deadline import JobDeadline
    from blossomtune.federation.server.evaluator import ServerEvaluator
    from blossomtune.federation.server.round_result import RoundResult
    from blossomtune.federation.server.rounds import OverBudgetError, RoundRunner
    from blossomtune.gpus import GpuSampler, list_visible_gpus
    from blossomtune.training.checkpoints import Checkpoint, CheckpointStore

    federation, total = run.spec.federation, run.spec.federation.rounds
    kept = federation.keep_checkpoints
    identity = build_run_identity(run.spec, run.paths, run.resources.device)
    checkpoints = CheckpointStore(
        run.paths.checkpoints, identity, RoundRecord, save_total_limit=kept
    )
    judge = ServerEvaluator(run.spec, run.paths, run.resources.cores)
    last = checkpoints.load_latest(max_round=total)
    done = last.round_number if last else 0
    if last:
        print(f"going on after round {done}, which is done", flush=True)
    if last is None and checkpoints.list_rounds_after(total):
        print(f"starting with round 1: of the first {total} rounds none is kept", flush=True)
    for difference in [] if last else checkpoints.find_identity_changes()[:1]:
        print(f"starting with round 1: earlier rounds had {difference}", flush=True)
    last = last or Checkpoint(0, judge.initial_state, [])
    # After the last round nothing is left to stop, whatever the losses say.
    stopped = early_stopping.get_stop_reason(last.history, federation) if done < total else None
    if done < total and not stopped:
        rounds = RoundRunner(
            grid,
            run.spec,
            checkpoints.folder.name,
            last.adapter_state,
            last.server_state,
            last.history,
            authenticated_clients,
        )
        if not last.history:
            first = RoundResult(0, evaluation=judge.evaluate(judge.initial_state, {}))
            last.history.append(first.to_record())
            print(format_round(last.history[-1], total, 0.0), flush=True)
        started = time.monotonic()
        limit = JobDeadline(run.resources.deadline)
        with GpuSampler(list_visible_gpus() if run.resources.device == "cuda" else []) as gpus:
            for number in range(done + 1, total + 1):
                limit.check(number - 1)
                gpus.collect_usage()
                try:
                    result = rounds.run_round(number)
                except OverBudgetError as error:
                    stopped = str(error)
                    break
                result.gpus = gpus.collect_usage()
                if number % federation.evaluate_every == 0 or number == total:
                    result.evaluation = judge.evaluate(rounds.adapter_state, rounds.base_deltas)
                history = [*last.history, result.to_record()]
                last = Checkpoint(number, rounds.adapter_state, history, rounds.get_server_state())
                best = early_stopping.find_best_round(history, federation)
                checkpoints.save(last, is_best=best == number)
                spent = (time.monotonic() - started) / (number - done)
                print(format_round(history[-1], total, spent * (total - number)), flush=True)
                if number < total and (
                    stopped := early_stopping.get_stop_reason(history, federation)
                ):
                    break
    if stopped:
        print(f"stopped: {stopped}", flush=True)
    write_results(run, last, checkpoints.load_best(max_round=last.round_number), stopped)


app = build_server_app(lambda context: FederatedRun.load(str(context.run_config["run"])))
