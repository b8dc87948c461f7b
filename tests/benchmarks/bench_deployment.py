"""A round on SuperLink and SuperNodes; reference: Flower's own programs with an empty app."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from statistics import median

import psutil
from default_experiment import build_outputs, prepare_default, to_options
from measurement import SCRIPTS, Measurement

from blossomtune.artifacts.checksums import write_checksums

CLIENTS, ROUNDS = 2, 6
ALLOWED_SECONDS = 2
"""Seconds that a round may take beyond one of the empty app."""

BIN = Path(sys.executable).parent
APP = """
[project]
name = "empty-app"
version = "0.1.0"
license = "Apache-2.0"
[tool.flwr.app]
publisher = "nobody"
[tool.flwr.app.components]
serverapp = "empty_app:server"
clientapp = "empty_app:client"
[tool.flwr.app.config]
rounds = 0
times = ""
"""


def deploy() -> Measurement:
    """Measure a round without its optimizer steps."""
    ours, reference = measure_overhead({"name": "process"}), _measure_empty_app()
    name = "a round without its steps, process engine / empty app"
    target = (reference + ALLOWED_SECONDS) / reference
    return Measurement(name, ours, reference, "s", target)


def measure_overhead(engine: dict) -> float:
    """Return the seconds of a round with one step, less those of the step.

    A step takes half of the time by which training of three steps is longer.

    Args:
        engine: The block of the engine.

    Returns:
        Seconds.
    """
    config, inputs = prepare_default()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs |= _select_first_clients(inputs, folder)
        (round_1, train_1), (round_3, train_3) = (
            _measure_rounds(config, inputs, folder / str(steps), steps, engine) for steps in (1, 3)
        )
    step = (train_3 - train_1) / 2
    print(f"a round of one step {round_1:.2f} s, of three {round_3:.2f} s; a step {step:.2f} s")
    return round_1 - step


def _select_first_clients(inputs: dict[str, Path], folder: Path) -> dict[str, Path]:
    """Return copies of the inputs that only have the first clients."""
    rows, partition = folder / "preprocessed", folder / "partition"
    shutil.copytree(inputs["preprocessed"], rows)
    partition.mkdir()
    for target, source in ((rows, rows), (partition, inputs["partition"])):
        manifest = json.loads((source / "manifest.json").read_text())
        lists = {key: manifest[key][:CLIENTS] for key in ("clients", "held_out") if key in manifest}
        (target / "manifest.json").write_text(json.dumps(manifest | lists))
        write_checksums(target, target.name)
    return {"preprocessed": rows, "partition": partition}


def _measure_rounds(
    config: dict, inputs: dict[str, Path], folder: Path, steps: int, engine: dict
) -> tuple[float, float]:
    """Return the median seconds from round to round, and of a round's training."""
    federation = config["federation"] | {"rounds": ROUNDS, "evaluate_rows": 0}
    # the SuperLinks of both engines are on the loopback address; one of others has no certificate
    federation |= {"engine": engine, "tls": engine["name"] == "process"}
    arguments = config["training"]["arguments"] | {"max_steps": steps}
    training = config["training"] | {"arguments": arguments}
    config = config | {"federation": federation, "training": training}
    folder.mkdir()
    paths = inputs | build_outputs(folder) | {"logs": folder / "logs"}
    command = [sys.executable, str(SCRIPTS / "federate.py"), "--config", json.dumps(config)]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    times = []
    with subprocess.Popen([*command, *to_options(paths)], **output) as process:
        for line in process.stdout:
            if line.startswith("round "):
                times.append(time.monotonic())
    if process.returncode:
        raise SystemExit(f"federate.py ended with {process.returncode}")
    rounds = json.loads(paths["history"].read_text())["rounds"][1:]
    training_seconds = [max(c["seconds"] for c in r["clients"]) for r in rounds]
    return _compute_interval(times[1:]), median(training_seconds)


def _compute_interval(times: list[float]) -> float:
    return median(after - before for before, after in pairwise(times))


def _measure_empty_app() -> float:
    """Return the seconds per round of Flower's programs with an app that replies at once."""
    with tempfile.TemporaryDirectory() as name, start_flower(Path(name)):
        return run_empty_app(Path(name))


@contextmanager
def start_flower(home: Path) -> Iterator[str]:
    """Start a SuperLink and a SuperNode per client, all of Flower's own; yield the address.

    Args:
        home: Folder of their files, with a connection ``here`` in ``config.toml``.

    Yields:
        Address of the SuperLink.
    """
    with ExitStack() as stack:
        port, *supernode_ports = _find_free_ports(1 + CLIENTS)
        address = f"127.0.0.1:{port}"
        (home / "config.toml").write_text(f'[superlink.here]\naddress="{address}"\ninsecure=true\n')
        superlink = ["flower-superlink", "--insecure", "--port", port]
        superlink += ["--disable-runtime-dependency-installation"]
        stack.enter_context(_run_program(home, *superlink))
        for client, other in enumerate(supernode_ports):
            supernode = ["flower-supernode", "--insecure", "--superlink", address, "--port", other]
            supernode += ["--node-config", f"partition-id={client}"]
            stack.enter_context(_run_program(home, *supernode))
        _wait_for_port(port)
        yield address


def run_empty_app(home: Path) -> float:
    """Run an app that replies at once; return the median seconds per round.

    Args:
        home: Folder of ``start_flower``.

    Returns:
        Seconds.
    """
    app, times = home / "app", home / "times"
    app.mkdir()
    shutil.copy(Path(__file__).with_name("empty_app.py"), app)
    (app / "pyproject.toml").write_text(APP)
    config = f'rounds={ROUNDS} times="{times}"'
    command = ("flwr", "run", app, "here", "--stream", "--run-config", config)
    with _run_program(home, *command) as run:
        if run.wait(300):
            raise SystemExit((home / "flwr.log").read_text())
    return _compute_interval([float(line) for line in times.read_text().splitlines()][1:])


@contextmanager
def _run_program(home: Path, program: str, *args: object) -> Iterator[subprocess.Popen]:
    """Run a program of Flower; kill it and its children in the end."""
    environment = os.environ | {"FLWR_HOME": str(home), "FLWR_TELEMETRY_ENABLED": "0"}
    command = [str(BIN / program), *map(str, args)]
    with (home / f"{program}.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        yield process
    finally:
        children = []
        if process.poll() is None:
            children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()


def _find_free_ports(count: int) -> list[int]:
    """Return ports that are free at the moment."""
    with ExitStack() as stack:
        servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        return [stack.enter_context(server).getsockname()[1] for server in servers]


def _wait_for_port(port: int) -> None:
    """Wait until a server listens on a port."""
    end = time.monotonic() + 60
    with socket.socket() as client:
        while client.connect_ex(("127.0.0.1", port)):
            if time.monotonic() > end:
                raise SystemExit("Flower's SuperLink did not start")
            time.sleep(0.1)
