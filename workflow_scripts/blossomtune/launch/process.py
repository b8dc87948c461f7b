"""The process engine: a SuperLink and a SuperNode a client, all on this machine."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blossomtune.errors import UserError
from blossomtune.files import read_json
from blossomtune.launch.children import Children
from blossomtune.launch.deployment import Places
from blossomtune.launch.keys import Keys

LOOPBACK = "127.0.0.1"
START_SECONDS = 60
RESTARTS = 3
"""How often a SuperNode is started again before the run goes on without it."""


class Process:
    """A SuperLink and SuperNodes as processes; see ``blossomtune.launch.deployment.Engine``."""

    hosts = (LOOPBACK,)

    def __init__(self, places: Places, clients: int, *, tls: bool) -> None:
        self._places, self._clients, self._tls = places, clients, tls
        self._restarts = dict.fromkeys(range(clients), RESTARTS)
        self._address = ""

    @contextmanager
    def running(self, keys: Keys) -> Iterator[Path]:
        """Starts everything, and stops it on every way out."""
        self._keys = keys
        with Children(self._places.logs) as self._children:
            words = ["--keys", str(keys.folder)] if self._tls else []
            folder = self._start("superlink", words)
            ready = folder / "superlink.json"
            self._wait(ready)
            self._address = f"{LOOPBACK}:{read_json(ready)['port']}"
            for client in range(self._clients):
                self._start_node(client)
            yield folder / "superlink.sock"

    def watch(self) -> dict[int, str | None]:
        """Starts SuperNodes again that have ended; see ``Engine.watch``."""
        found: dict[int, str | None] = {}
        for name, status in self._children.ended().items():
            fault = self._children.fault(name, status)
            if name == "superlink":
                raise fault
            client = int(name.removeprefix("supernode_"))
            self._children.stop(name)
            found[client] = None if self._tls and self._restarts[client] else str(fault)
            if found[client] is None:
                self._restarts[client] -= 1
                self._start_node(client)
            print(f"{fault}\n  {'gone' if found[client] else 'started again'}", flush=True)
        return found

    def _start_node(self, client: int) -> None:
        words = ["--superlink", self._address, "--client", str(client)]
        words += ["--job", str(self._places.job)]
        if self._tls:
            words += ["--authority", str(self._keys.authority)]
            words += ["--key", str(self._keys.node(client))]
        self._start(f"supernode_{client}", words)

    def _start(self, name: str, words: list[str]) -> Path:
        home = self._places.scratch / name
        home.mkdir(exist_ok=True)
        env = {"FLWR_HOME": str(home), "FLWR_TELEMETRY_ENABLED": "0", "PYTHONUNBUFFERED": "1"}
        env["PYTHONPATH"] = str(self._places.code)
        module = f"blossomtune.launch.{name.partition('_')[0]}"
        command = [sys.executable, "-m", module, "--folder", str(home), *words]
        self._children.start(name, command, env)
        return home

    def _wait(self, ready: Path) -> None:
        end = time.monotonic() + START_SECONDS
        while not ready.exists():
            self.watch()
            if time.monotonic() > end:
                raise UserError(f"the SuperLink was not ready after {START_SECONDS} s")
            time.sleep(0.05)
