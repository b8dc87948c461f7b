"""A process that has loaded all libraries once, and forks SuperNodes from itself.

Loading takes seconds and 400 MB; a fork takes milliseconds, and shares what is loaded. So many
SuperNodes fit on one machine, and one that was killed is back at once.
"""

import gc
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from blossomtune.launch.parts import Part, called, follow

LOADED = (
    "blossomtune.federation.client_app",
    "blossomtune.federation.privacy",
    "blossomtune.federation.worker",
    "blossomtune.launch.supernode",
    "blossomtune.launch.tasks",
    "flwr.supernode.runtime.run_clientapp",
    "transformers.models.llama.modeling_llama",
)
"""What SuperNodes and trainers import; none of it starts CUDA, which does not outlive a fork."""

POLL_SECONDS, GRACE_SECONDS = 0.05, 2


class Forked:
    """A part that the nursery has forked, with what we need of ``subprocess.Popen``.

    Args:
        nursery: it.
        number: what it calls the part.
    """

    def __init__(self, nursery: "Nursery", number: int) -> None:
        self._nursery, self._number = nursery, number

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._nursery.status(self._number)

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end.

        Raises:
            subprocess.TimeoutExpired: after so many seconds.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired("a forked part", timeout)
            time.sleep(POLL_SECONDS)
        return status

    def terminate(self) -> None:
        """Asks it to end."""
        self._nursery.send(number=self._number, signal=signal.SIGTERM)

    def kill(self) -> None:
        """Ends it."""
        self._nursery.send(number=self._number, signal=signal.SIGKILL)


class Nursery:
    """The process, held by its handle.

    Args:
        environment: its environment.
        log: for what it says itself.
    """

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._door, theirs = multiprocessing.Pipe()
        self._ended: dict[int, int] = {}
        self._count = 0
        with log.open("ab") as said, theirs:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "blossomtune.launch.nursery", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=[theirs.fileno()],
            )

    def start(self, part: Part, log: Path) -> Forked:
        """Forks a part as soon as all libraries are loaded; what it says is added to ``log``."""
        self._count += 1
        words = part.program[2:]
        self.send(number=self._count, words=words, environment=part.environment, log=str(log))
        return Forked(self, self._count)

    def send(self, **request: Any) -> None:
        """Tells the process something, if it is still there."""
        with suppress(OSError):
            self._door.send_bytes(json.dumps(request).encode())

    def status(self, number: int) -> int | None:
        """The exit status of what was forked; None while it runs."""
        with suppress(OSError, EOFError):
            while self._door.poll():
                self._ended |= {int(k): v for k, v in json.loads(self._door.recv_bytes()).items()}
        return self._ended.get(number, self._process.poll())  # they end with the nursery

    def close(self) -> None:
        """Ends it, and what it has forked."""
        self._door.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_SECONDS)
        self._process.kill()  # it may still be loading
        self._process.wait()


def serve(door: Connection) -> None:
    """Forks what it is asked to, and tells the exit status of what has ended.

    Args:
        door: to the process that asks; once it is closed all ends.
    """
    for name in LOADED:
        import_module(name)
    gc.collect()
    gc.freeze()  # else a collection in a fork writes to all that it shares
    context = multiprocessing.get_context("fork")
    running: dict[int, multiprocessing.process.BaseProcess] = {}
    with suppress(EOFError, ConnectionError):
        while True:
            # A sentinel says nothing while a stopped trainer holds it; so we look now and then.
            if door in wait([door, *(each.sentinel for each in running.values())], timeout=1):
                request = json.loads(door.recv_bytes())
                number = request["number"]
                if "words" in request:
                    running[number] = context.Process(target=_become, args=(request, door))
                    running[number].start()
                elif number in running:
                    os.kill(running[number].pid, request["signal"])
            ended = {n: s for n, p in running.items() if (s := p.exitcode) is not None}
            if ended:
                door.send_bytes(json.dumps(ended).encode())
            for number in ended:
                running.pop(number).close()
    for each in running.values():
        each.kill()
        each.join()
    os._exit(0)  # nothing here is worth tidying up


def _become(request: dict[str, Any], door: Connection) -> None:
    from blossomtune.launch.supernode import main

    door.close()
    with Path(request["log"]).open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.environ.update(request["environment"])
    follow()
    main(request["words"])


if __name__ == "__main__":
    called("nursery")
    with Connection(int(sys.argv[1])) as given:
        serve(given)
