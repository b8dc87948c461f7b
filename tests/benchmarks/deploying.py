"""A round on SuperLink and SuperNodes, beside one of a Flower app that does nothing at all."""

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
from default import SCRIPTS, places, prepared

CLIENTS, ROUNDS = 2, 6
MORE_SECONDS = 2
BIN = Path(sys.executable).parent
APP = """
[project]
name = "empty"
version = "0.1.0"
license = "Apache-2.0"
[tool.flwr.app]
publisher = "nobody"
[tool.flwr.app.components]
serverapp = "empty:server"
clientapp = "empty:client"
[tool.flwr.app.config]
rounds = 0
times = ""
"""


def deploy() -> dict:
    """Seconds a round beyond the optimizer steps; at most two more than with nothing to do."""
    ours, other = beyond_steps(), empty()
    return {
        "name": "a round beyond its steps, process engine / empty app",
        "ours": round(ours, 2),
        "other": round(other, 2),
        "unit": "s",
        "ratio": round(ours / other, 3),
        "bound": round((other + MORE_SECONDS) / other, 3),
    }


def beyond_steps() -> float:
    """Of a round with one step what is left without it; a step is what two more steps need."""
    settings, files = prepared()
    with tempfile.TemporaryDirectory() as scratch:
        files |= _few(files, Path(scratch))
        (one, first), (three, last) = (
            _rounds(settings, files, Path(scratch) / str(steps), steps) for steps in (1, 3)
        )
    step = (last - first) / 2
    print(f"a round of one step {one:.2f} s, of three {three:.2f} s; a step {step:.2f} s")
    return one - step


def _few(files: dict[str, Path], scratch: Path) -> dict[str, Path]:
    """The same files, with the first clients only."""
    rows, partition = scratch / "preprocessed", scratch / "partition"
    shutil.copytree(files["preprocessed"], rows)
    partition.mkdir()
    for folder, source in ((rows, rows), (partition, files["partition"])):
        manifest = json.loads((source / "manifest.json").read_text())
        fewer = {key: manifest[key][:CLIENTS] for key in ("clients", "held_out") if key in manifest}
        (folder / "manifest.json").write_text(json.dumps(manifest | fewer))
    return {"preprocessed": rows, "partition": partition}


def _rounds(
    settings: dict, files: dict[str, Path], scratch: Path, steps: int
) -> tuple[float, float]:
    """Seconds from the end of a round to that of the next, and of training in it; medians."""
    federation = settings["federation"] | {"rounds": ROUNDS, "evaluate_rows": 0}
    training = settings["training"]
    training |= {"arguments": training["arguments"] | {"max_steps": steps}}
    config = settings | {
        "federation": federation | {"engine": {"name": "process"}},
        "training": training,
    }
    scratch.mkdir()
    paths = files | places(scratch) | {"logs": scratch / "logs"}
    options = [word for key, path in paths.items() for word in (f"--{key}", str(path))]
    command = [sys.executable, str(SCRIPTS / "federate.py"), "--config", json.dumps(config)]
    ends = []
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as running:
        for line in running.stdout:
            if line.startswith("round "):
                ends.append(time.monotonic())
    if running.returncode:
        raise SystemExit(f"federate.py ended with {running.returncode}")
    rounds = json.loads(paths["history"].read_text())["rounds"][1:]
    return _between(ends[1:]), median(max(c["seconds"] for c in r["clients"]) for r in rounds)


def _between(times: list[float]) -> float:
    return median(b - a for a, b in pairwise(times))


def empty() -> float:
    """Seconds a round of Flower's own programs, with an app that answers at once."""
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        home = Path(scratch)
        app = home / "app"
        app.mkdir()
        shutil.copy(Path(__file__).with_name("empty.py"), app)
        (app / "pyproject.toml").write_text(APP)
        port, *others = _free(1 + CLIENTS)
        address = f"127.0.0.1:{port}"
        (home / "config.toml").write_text(f'[superlink.here]\naddress="{address}"\ninsecure=true\n')
        link = ["flower-superlink", "--insecure", "--port", port]
        stack.enter_context(_running(home, *link, "--disable-runtime-dependency-installation"))
        for other in others:
            node = ["flower-supernode", "--insecure", "--superlink", address, "--port", other]
            stack.enter_context(_running(home, *node))
        _until_open(port)
        times = home / "times"
        given = f'rounds={ROUNDS} times="{times}"'
        with _running(home, "flwr", "run", app, "here", "--stream", "--run-config", given) as run:
            if run.wait(300):
                raise SystemExit((home / "flwr.log").read_text())
        return _between([float(line) for line in times.read_text().splitlines()][1:])


@contextmanager
def _running(home: Path, program: str, *words: object) -> Iterator[subprocess.Popen]:
    """A program of Flower's; it and what it has started are stopped in the end."""
    environment = os.environ | {"FLWR_HOME": str(home), "FLWR_TELEMETRY_ENABLED": "0"}
    command = [str(BIN / program), *map(str, words)]
    with (home / f"{program}.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        yield process
    finally:
        family = []
        if process.poll() is None:
            family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.kill()


def _free(count: int) -> list[int]:
    """Ports that are free at the moment."""
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in taken]


def _until_open(port: int) -> None:
    end = time.monotonic() + 60
    with socket.socket() as asking:
        while asking.connect_ex(("127.0.0.1", port)):
            if time.monotonic() > end:
                raise SystemExit("Flower's SuperLink did not start")
            time.sleep(0.1)
