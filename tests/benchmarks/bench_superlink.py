"""Rounds on a real SuperLink with many SuperNodes that answer at once and train nothing.

As a program, ``bench_superlink.py server CLIENTS`` prints seconds, CPU time and memory as JSON, and
``bench_superlink.py nodes FOLDER CLIENTS`` runs the SuperNodes of such a server.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import httpx
import psutil
from bench_scale import LAYERS, SIZE
from measurement import Measurement, measure_in_process

CLIENTS = (10, 100, 1_000)
ROUNDS, ENOUGH_SECONDS, IDLE_SECONDS = 3, 60, 10
"""Most rounds, the time after which there is none more, and the time to look at idle SuperNodes."""

IDLE_POLL_SECONDS = 3
"""Time that a SuperNode waits when there is no message for it, as Flower's own does."""


def superlink() -> Measurement:
    """Measure rounds of 10 to 1,000 SuperNodes; a client's share is to stay the same."""
    seconds = {}
    for clients in CLIENTS:
        result = measure_in_process(__file__, "server", clients)
        seconds[clients] = result["cpu_seconds"] / clients
        print(
            f"{clients:>6} SuperNodes {result['seconds']:7.1f} s per round, "
            f"CPU {result['cpu_seconds']:7.1f} s, between rounds {result['idle_share']:.0%}, "
            f"SuperLink {result['superlink_mb']:.0f} MB, server {result['server_mb']:.0f} MB"
        )
    return Measurement(
        "SuperLink / one of 1,000 SuperNodes, one of 100",
        1000 * seconds[1_000],
        1000 * seconds[100],
        "ms",
        target=1.5,
    )


def _run_server(num_clients: int) -> dict[str, float]:
    from many_clients import build_adapter, build_spec

    from blossomtune.deployment.flower_run import run_session
    from blossomtune.deployment.keys import KeyStore
    from blossomtune.federation.server.rounds import RoundRunner
    from blossomtune.training.checkpoints import Checkpoint

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keys = KeyStore(folder / "keys")
        keys.create_missing(["127.0.0.1"], range(num_clients))
        key_files = [keys.supernode_public_key(client) for client in range(num_clients)]
        programs = []

        def require_nodes() -> dict:
            if programs and programs[0].poll() is not None:
                raise SystemExit("the SuperNodes have ended")
            return {}

        socket = folder / "superlink/superlink.sock"
        with (
            _start_superlink(folder, keys) as superlink,
            run_session(socket, key_files, require_nodes) as (grid, owners, _),
            _run_program(__file__, "nodes", folder, num_clients) as nodes,
        ):
            programs.append(nodes)
            spec = build_spec(num_clients)
            adapter = build_adapter(LAYERS, SIZE)
            checkpoint = Checkpoint(0, adapter, [])
            runner = RoundRunner(grid, spec, "0123456789abcdef", checkpoint, owners, folder)
            return _measure_rounds(runner, superlink)


def _measure_rounds(runner, superlink: psutil.Process) -> dict[str, float]:
    start = _get_cpu_seconds(superlink)
    time.sleep(IDLE_SECONDS)
    idle_share = (_get_cpu_seconds(superlink) - start) / IDLE_SECONDS
    seconds, cpu_seconds = [], []
    for number in range(1, ROUNDS + 1):
        started, start = time.monotonic(), _get_cpu_seconds(superlink) + time.process_time()
        result = runner.run_round(number)
        seconds.append(time.monotonic() - started)
        cpu_seconds.append(_get_cpu_seconds(superlink) + time.process_time() - start)
        if result.failed:
            raise SystemExit(f"{len(result.failed)} clients failed: {result.failed[0]}")
        if sum(seconds) > ENOUGH_SECONDS:
            break
    return {
        "seconds": median(seconds),
        "cpu_seconds": median(cpu_seconds),
        "idle_share": idle_share,
        "superlink_mb": superlink.memory_info().rss / 1e6,
        "server_mb": psutil.Process().memory_info().rss / 1e6,
    }


def _get_cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


@contextmanager
def _start_superlink(folder: Path, keys):
    """Run a SuperLink until the end of the block; yield its process."""
    work_dir = folder / "superlink"
    work_dir.mkdir()
    options = ["--work-dir", work_dir, "--key-dir", keys.folder]
    command = ["-m", "blossomtune.deployment.superlink", *options]
    with (folder / "superlink.log").open("wb") as log, _run_program(*command, log=log) as process:
        while not (work_dir / "superlink.json").exists():
            if process.poll() is not None:
                raise SystemExit("the SuperLink has ended")
            time.sleep(0.1)
        yield psutil.Process(process.pid)


@contextmanager
def _run_program(*arguments: object, log=None):
    """Run a Python program; kill it at the end of the block."""
    command = [sys.executable, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log) as process:
        try:
            yield process
        finally:
            process.kill()


def _run_nodes(folder: Path, num_clients: int) -> None:
    """Run SuperNodes, each in a thread, until this process is killed."""
    from many_clients import ManyClientsGrid, build_adapter, build_spec

    answers = ManyClientsGrid(num_clients, build_adapter(LAYERS, SIZE), build_spec(num_clients))
    lock = threading.Lock()  # Flower keeps the identity of a task per process
    threading.excepthook = _exit_with_thread
    for client in range(num_clients):
        arguments = (folder, client, answers, lock)
        threading.Thread(target=_run_node, args=arguments, daemon=True).start()
    threading.Event().wait()


def _exit_with_thread(arguments: threading.ExceptHookArgs) -> None:
    sys.excepthook(*arguments[:3])
    os._exit(1)


def _run_node(folder: Path, client: int, answers, lock: threading.Lock) -> None:
    from fleet_node import FleetNode

    node = FleetNode(folder, client)
    node.activate()
    while True:
        try:
            requests = node.pull()
        except httpx.TransportError:  # a SuperNode asks again, too
            continue
        for request, tree in requests:
            node.download(request, tree)
            with lock:
                reply = node.build_reply(request, answers.build_content(request, client))
            node.send(reply)
        if not requests:
            time.sleep(IDLE_POLL_SECONDS)


if __name__ == "__main__":
    if sys.argv[1] == "nodes":
        _run_nodes(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        print(json.dumps(_run_server(int(sys.argv[2]))))
