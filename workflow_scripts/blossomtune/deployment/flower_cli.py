"""Submit, follow and stop runs with Flower's own command line, its public interface for that."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blossomtune.errors import UserError

BIN_DIR = Path(sys.executable).parent
COMMAND_TIMEOUT_SECONDS = 120


@dataclass(frozen=True)
class RunStatus:
    """Status of a run on a SuperLink.

    Attributes:
        status: ``pending``, ``starting``, ``running``, or ``finished:`` and how.
        details: What the SuperLink says about it; the error of a ServerApp that failed.
    """

    status: str
    details: str

    @property
    def is_finished(self) -> bool:
        """True if the run has ended, however that was."""
        return self.status.startswith("finished")


class FlowerCli:
    """Flower's command line for one SuperLink.

    Args:
        connection: Name of the connection in ``config.toml``.
        home: Folder of that file.
    """

    def __init__(self, connection: str, home: Path) -> None:
        self._connection, self._home = connection, home

    def start_run(self, app: Path, run_config: dict[str, str], config_file: Path) -> str:
        """Submit an app.

        Args:
            app: Folder of the app.
            run_config: Values that replace those of the app's configuration.
            config_file: File to write these values to, since arguments have limits.

        Returns:
            Id of the run.

        Raises:
            UserError: If the SuperLink refuses the run, or does not answer.
        """
        # a JSON string is a TOML string
        lines = [f"{k} = {json.dumps(v, ensure_ascii=False)}\n" for k, v in run_config.items()]
        config_file.write_text("".join(lines), encoding="utf-8")
        options = ("--run-config", str(config_file))
        answer = self._call("run", str(app), self._connection, *options)
        return str(answer["run-id"])

    def get_status(self, run_id: str) -> RunStatus:
        """Return the status of a run; raise UserError if the SuperLink does not say it."""
        [run] = self._call("ls", self._connection, "--run-id", run_id)["runs"]
        return RunStatus(run["status"], run["status-details"])

    def stop_run(self, run_id: str) -> None:
        """Stop a run; raise UserError if the SuperLink does not, as when it has ended."""
        self._call("stop", run_id, self._connection)

    def _call(self, command: str, *arguments: str) -> dict[str, Any]:
        """Run a command; return its JSON.

        The exit status says nothing: with ``--format json`` it is 0 for refused commands, too.
        """
        program = [str(BIN_DIR / "flwr"), command, *arguments, "--format", "json"]
        try:
            result = subprocess.run(  # noqa: S603
                program,
                env=os.environ | build_environment(self._home),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=COMMAND_TIMEOUT_SECONDS,
                check=False,
            )
            answer: dict[str, Any] = json.loads(result.stdout)
        except subprocess.TimeoutExpired:
            answer = {"error-message": f"no answer within {COMMAND_TIMEOUT_SECONDS} s"}
        except json.JSONDecodeError:
            answer = {"error-message": (result.stderr or result.stdout)[-2000:]}
        if not answer.get("success"):
            text = str(answer.get("error-message", ""))
            reason = text.partition("\n\n")[2] or text  # after what it has done so far
            message = "\n  ".join(line for line in reason.splitlines() if line.strip())
            raise UserError(f"flwr {command}: {message or 'it gives no reason'}")
        return answer


def build_environment(home: Path) -> dict[str, str]:
    """Return the variables of Flower's programs.

    Args:
        home: Their folder.

    Returns:
        Variables, by name. Programs that they start in turn come from this environment.
    """
    return {
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "PATH": f"{BIN_DIR}{os.pathsep}{os.environ.get('PATH', '')}",
    }
