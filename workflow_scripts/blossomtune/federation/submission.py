"""Files through which a run reaches the apps that a SuperLink of others starts.

The submitting process creates a folder for one run beside the checkpoints. Only a ServerApp that
shares the file system finds it, under a name that nobody can guess beforehand.
"""

import getpass
import logging
import platform
import time
from pathlib import Path

from blossomtune.errors import UserError
from blossomtune.federation.run import FederatedRun
from blossomtune.files import read_json, write_json, write_private_file

FOLDER_PREFIX = "flower-"
RUN_FILE, RUN_ID_FILE, LOG_FILE = "run.json", "run_id.json", "server.log"
SUBMITTED, STARTED = "submitted", "started"
"""Names of one file. The ServerApp renames it, and the submitting process then removes it."""

ENDED = "ended"
"""File that says that the ServerApp has ended, so that nobody need ask the SuperLink often."""

ACCEPT_TIMEOUT_SECONDS = 120
POLL_SECONDS = 0.2
SHARED_HINT = (
    "model, preprocessed rows, checkpoints and adapter must be on a file system that both see "
    "under the same path; or start the SuperLink with --isolation process and set "
    "federation.engine.superexec_secret, so that the ServerApp runs where the workflow does"
)


class Submission:
    """Files of one submitted run.

    Args:
        folder: The run's folder, in that of the checkpoints.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run_file, self.log = folder / RUN_FILE, folder / LOG_FILE
        self._run_id_file = folder / RUN_ID_FILE
        self._submitted, self._started = folder / SUBMITTED, folder / STARTED

    def write(self, run: FederatedRun) -> None:
        """Write the run with the server's paths; only this user may read it."""
        self.folder.mkdir(parents=True)
        write_private_file(self.run_file, run.model_dump_json().encode())
        self._submitted.touch()

    @property
    def run_id(self) -> str | None:
        """Id of the run on the SuperLink, once it is known."""
        return str(read_json(self._run_id_file)) if self._run_id_file.exists() else None

    def save_run_id(self, run_id: str) -> None:
        """Write the id of the run, for a process that finds this folder left behind."""
        write_json(self._run_id_file, run_id)

    @property
    def has_ended(self) -> bool:
        """True if the ServerApp has ended; one that was killed does not say so."""
        return (self.folder / ENDED).exists()

    def mark_end(self) -> None:
        """Say that this ServerApp ends, if a submitting process reads its log."""
        if self.log.exists():
            (self.folder / ENDED).touch()

    def confirm_start(self) -> bool:
        """Let a ServerApp go on that has started; return whether there is one."""
        if not self._started.exists():
            return False
        self._started.unlink()
        return True

    def accept(self) -> None:
        """Show the submitting process that this ServerApp sees its files, and log for it.

        Raises:
            UserError: If the files are not shared in both directions.
        """
        if not self._submitted.exists():
            return  # `flwr run` of its own submitted this run
        place = f"the ServerApp runs on {platform.node()} as {getpass.getuser()}"
        try:
            handler = logging.FileHandler(self.log)
            self._submitted.rename(self._started)
        except OSError as error:
            raise UserError(f"{place}, which cannot write there: {error}", SHARED_HINT) from None
        end = time.monotonic() + ACCEPT_TIMEOUT_SECONDS
        while self._started.exists():
            if time.monotonic() > end:
                raise UserError(f"{place}: what it writes there is not seen here", SHARED_HINT)
            time.sleep(POLL_SECONDS)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logging.getLogger("blossomtune").addHandler(handler)


def load_submitted_run(path: Path) -> FederatedRun:
    """Load a run in the ServerApp.

    Args:
        path: File of the run.

    Returns:
        The run.

    Raises:
        UserError: If this process does not see or may not read the file.
    """
    try:
        return FederatedRun.load(path)
    except OSError as error:
        raise UserError(
            f"the ServerApp runs on {platform.node()} as {getpass.getuser()}, which cannot read "
            f"{path}: {error.strerror}",
            SHARED_HINT,
        ) from None
