"""Run a federation as an app on a SuperLink and SuperNodes that others run."""

import logging
import secrets
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from blossomtune.config.engines import FlowerEngine
from blossomtune.deployment.backend import CODE_DIR
from blossomtune.deployment.flower_cli import FlowerCli, RunStatus
from blossomtune.deployment.flower_connection import resolve_connection
from blossomtune.deployment.flower_superexec import start_superexec
from blossomtune.deployment.reaper import CLEANUP_FILE, on_exit, start_reaper
from blossomtune.errors import UserError
from blossomtune.federation.paths import ServerPaths
from blossomtune.federation.run import FederatedRun
from blossomtune.federation.submission import (
    FOLDER_PREFIX,
    SHARED_HINT,
    Submission,
)
from blossomtune.files import expand_home

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
STATUS_SECONDS, FINAL_STATUS_SECONDS = 30.0, 2.0
"""Time between two questions for the status, each of which starts a program.

The second one is for the end, which the ServerApp's files show.
"""

UNREACHABLE_SECONDS = 600
"""Time that a SuperLink may be out of reach before we give up a run that goes on."""

APP_ERROR = "ServerApp failed with exception: "
DETAILS_HINTS = {
    "uv sync failed": "start the SuperLink with --disable-runtime-dependency-installation: it "
    "installs what the app needs for each run by default",
    "No heartbeat received": "the ServerApp has ended without a word, as when it was killed or "
    "had no memory left",
}


def run_on_superlink(run: FederatedRun, log_dir: Path) -> None:
    """Submit a federation to the SuperLink of its engine, and wait for adapter and history.

    The run is stopped if this process ends before it. The next call goes on after the last round.

    Args:
        run: The run.
        log_dir: Folder for the output of a ServerApp that runs on this machine.

    Raises:
        UserError: If the SuperLink refuses the run, the run fails, or files are not shared.
    """
    engine, paths = run.spec.federation.engine, run.paths
    if not isinstance(engine, FlowerEngine) or not isinstance(paths, ServerPaths):
        raise TypeError("this run is not one of engine flower with the server's paths")
    with start_reaper() as scratch, ExitStack() as stack:
        home = Path(scratch) / "flower"
        connection = resolve_connection(engine, run.spec.federation.tls, home)
        cli = FlowerCli(connection.name, connection.home)
        _stop_leftover_runs(cli, paths.checkpoints)
        require_running: Callable[[], None] = lambda: None  # noqa: E731
        if engine.superexec_secret:
            log = log_dir / "serverapp.log"
            superexec = start_superexec(connection, engine.superexec_secret, home, log)
            require_running = stack.enter_context(superexec)
        submission = Submission(paths.checkpoints / f"{FOLDER_PREFIX}{secrets.token_hex(8)}")
        submission.write(_prepare_server_run(run))
        run_config = {
            "run": str(submission.run_file),
            "client-run": _prepare_client_run(run).model_dump_json(),
        }
        run_id = cli.start_run(CODE_DIR, run_config, submission.folder / "run_config.toml")
        arguments = [run_id, connection.name, str(connection.home)]
        on_exit(Path(scratch), [sys.executable, "-m", __spec__.name, *arguments])
        submission.save_run_id(run_id)
        logger.info("run %s was submitted to %s", run_id, connection.address)
        status = _follow_run(cli, run_id, submission, require_running)
        (Path(scratch) / CLEANUP_FILE).unlink()  # it has ended by itself
        shutil.rmtree(submission.folder)
    _require_completed(status)
    if not paths.history.exists():
        raise UserError(f"run {run_id} is complete, and there is no {paths.history}", SHARED_HINT)


def _prepare_server_run(run: FederatedRun) -> FederatedRun:
    """Return the run with paths that do not depend on the working directory."""
    federation = run.spec.federation
    engine = federation.engine
    if isinstance(engine, FlowerEngine) and engine.keys:
        keys = str(expand_home(engine.keys).resolve())
        engine = engine.model_copy(update={"keys": keys})
    privacy = federation.privacy
    if privacy and privacy.secret:
        secret = str(expand_home(privacy.secret).resolve())
        privacy = privacy.model_copy(update={"secret": secret})
    changes = {"engine": engine, "privacy": privacy}
    spec = run.spec.model_copy(update={"federation": federation.model_copy(update=changes)})
    resources = run.resources
    if not getattr(engine, "superexec_secret", None):
        # the clock of another machine has another beginning
        resources = resources.model_copy(update={"deadline": None})
    return run.model_copy(update={"spec": spec, "resources": resources})


def _prepare_client_run(run: FederatedRun) -> FederatedRun:
    """Return the run for the machines of the clients."""
    share = run.spec.federation.gpus_per_client
    client_run = run.redact_for_clients()
    # auto: a client has a machine to itself
    gpus = {"gpus_per_client": 1.0 if share == "auto" else share}
    resources = client_run.resources.model_copy(update=gpus)
    return client_run.model_copy(update={"resources": resources})


def _stop_leftover_runs(cli: FlowerCli, checkpoints: Path) -> None:
    """Stop runs of earlier processes that were killed together with what cleans up after them."""
    for folder in checkpoints.glob(f"{FOLDER_PREFIX}*"):
        if run_id := Submission(folder).run_id:
            with suppress(UserError):  # it has ended, or the SuperLink has forgotten it
                cli.stop_run(run_id)
        shutil.rmtree(folder)


def _follow_run(
    cli: FlowerCli, run_id: str, submission: Submission, require_running: Callable[[], None]
) -> RunStatus:
    """Print what the ServerApp logs until the run has ended; return its status."""
    position, known_status = 0, "pending"
    last_answer = time.monotonic()
    next_question = last_answer + STATUS_SECONDS
    while True:
        require_running()
        submission.confirm_start()
        position = _print_log(submission.log, position)
        if submission.has_ended:
            next_question = min(next_question, time.monotonic() + FINAL_STATUS_SECONDS)
        if time.monotonic() > next_question:
            try:
                status = cli.get_status(run_id)
                last_answer = time.monotonic()
                if status.status == "pending" or status.status != known_status:
                    logger.info("run %s is %s", run_id, status.status)
                known_status = status.status
            except UserError as error:
                if time.monotonic() - last_answer > UNREACHABLE_SECONDS:
                    raise UserError(
                        f"the SuperLink has not answered for {UNREACHABLE_SECONDS} s: {error}",
                        "the same command goes on after the last round",
                    ) from None
                logger.warning("the SuperLink does not answer; asking again: %s", error)
                status = RunStatus("unknown", "")
            if status.is_finished:
                _print_log(submission.log, position)
                return status
            next_question = time.monotonic() + STATUS_SECONDS
        time.sleep(POLL_SECONDS)


def _print_log(log: Path, position: int) -> int:
    """Print the ServerApp's log from a position in bytes on; return the position of its end."""
    with suppress(FileNotFoundError), log.open("rb") as file:
        file.seek(position)
        text = file.read()
        sys.stderr.write(text.decode(errors="replace"))
        sys.stderr.flush()
        position += len(text)
    return position


def _require_completed(status: RunStatus) -> None:
    """Raise UserError unless a run has ended with its results."""
    if status.status == "finished:completed":
        return
    if status.status == "finished:stopped":
        raise UserError(
            "the run was stopped on the SuperLink",
            "the same command goes on after the last round",
        )
    hint = next((hint for text, hint in DETAILS_HINTS.items() if text in status.details), None)
    raise UserError(status.details.removeprefix(APP_ERROR) or "the run failed", hint)


if __name__ == "__main__":
    with suppress(UserError):  # it has ended in the meantime
        FlowerCli(sys.argv[2], Path(sys.argv[3])).stop_run(sys.argv[1])
