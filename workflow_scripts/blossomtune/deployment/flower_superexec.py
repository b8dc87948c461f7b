"""Run the ServerApps of a SuperLink of others on this machine, with Flower's own program."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from blossomtune.deployment.flower_cli import BIN_DIR, build_environment
from blossomtune.deployment.flower_connection import Connection
from blossomtune.errors import UserError
from blossomtune.files import expand_home

STOP_TIMEOUT_SECONDS = 5


@contextmanager
def start_superexec(
    connection: Connection, secret: str, home: Path, log: Path
) -> Iterator[Callable[[], None]]:
    """Start ``flower-superexec``; stop it on exit.

    Args:
        connection: The SuperLink, which runs with ``--isolation process``.
        secret: File of the secret that the SuperLink was started with.
        home: Folder for the apps that it unpacks.
        log: File for the output of the program, and of the ServerApp.

    Yields:
        Function that raises UserError if the program has ended.

    Raises:
        UserError: If the file of the secret does not exist.
    """
    file = expand_home(secret).resolve()
    if not file.is_file():
        raise UserError(f"federation.engine.superexec_secret: there is no file {file}")
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [str(BIN_DIR / "flower-superexec"), "--runtime-api-address", connection.address]
    command += [*connection.tls_arguments, "--superexec-auth-secret-file", str(file)]
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603
            command,
            env=os.environ | build_environment(home),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    def require_running() -> None:
        if process.poll() is not None:
            raise UserError(
                "flower-superexec has ended; a SuperLink refuses it without --isolation process, "
                f"or with another secret than {file}",
                f"see {log}",
            )

    try:
        yield require_running
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_SECONDS)
        process.kill()
        process.wait()
