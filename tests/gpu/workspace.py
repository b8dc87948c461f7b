"""A directory in which the real workflow runs the experiments."""

import copy
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from blossomtune.artifacts.files import read_artifact
from blossomtune.artifacts.history import History
from blossomtune.artifacts.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
BLOCKS = ("models", "datasets", "partitions", "preprocessing")
DEFAULT = ("cpu-default", "gpu-float32", "gpu-bfloat16")
"""Experiments that are variants of the default's."""

PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
"""Programs of this environment first."""

EXCEPTION = re.compile(r"(?!WorkflowError|CalledProcessError)[\w.]*(Error|Exception)\b.*: ")
"""Last line of a traceback, but not those of Snakemake."""


class StageError(RuntimeError):
    """A stage of the workflow that failed."""


def build_config(device: str, *, small: bool) -> dict[str, Any]:
    """Return the configuration of all experiments.

    Args:
        device: Type of the device, such as ``cuda`` or ``cpu``.
        small: Whether to use the tiny model and the invented rows.

    Returns:
        Content of config.yaml.
    """
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    [quickstart] = config["experiments"].values()
    config["experiments"] = {name: copy.deepcopy(quickstart) for name in DEFAULT}
    for file in ["experiments.yaml", *(["small.yaml"] if small else [])]:
        added = yaml.safe_load((HERE / file).read_text())
        for section in BLOCKS:
            config[section] |= added.get(section, {})
        _merge(config["experiments"], added["experiments"])
    for name, experiment in config["experiments"].items():
        on_cpu = name.startswith("cpu-")
        experiment.setdefault("evaluation", {})["device"] = "cpu" if on_cpu else device
        if device == "cpu":
            experiment["federation"]["gpus_per_client"] = 0
    config["run"] = list(config["experiments"])
    return config


def _merge(below: dict[str, Any], above: dict[str, Any]) -> None:
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            _merge(below[key], value)
        else:
            below[key] = copy.deepcopy(value)


class Workspace:
    """A working directory with its configuration.

    Args:
        folder: Folder to write; results that are there already are used again.
        config: Content of config.yaml.
    """

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder = folder
        self.config = config
        (folder / "config").mkdir(parents=True, exist_ok=True)
        (folder / "config/config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

    def build(self, target: str) -> None:
        """Build a file below ``results/`` with Snakemake; raise StageError with the reason."""
        arguments = ("--snakefile", str(ROOT / "Snakefile"), "--directory", str(self.folder))
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", f"results/{target}", *arguments, "--cores", "all"],
            env=os.environ
            | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        log = self.folder / "logs" / f"{target.replace('/', '-')}.log"
        log.parent.mkdir(exist_ok=True)
        log.write_text(done.stdout)
        if done.returncode:
            raise StageError(f"{find_reason(done.stdout)} (see logs/{log.name})")

    def build_history(self, experiment: str) -> History:
        """Train an experiment; return its history."""
        path = f"experiments/{experiment}/history.json"
        self.build(path)
        return read_artifact(self.folder / "results" / path, History)

    def build_metrics(self, experiment: str) -> Metrics:
        """Train, merge and evaluate an experiment; return its metrics."""
        path = f"experiments/{experiment}/metrics.json"
        self.build(path)
        return read_artifact(self.folder / "results" / path, Metrics)


def find_reason(output: str) -> str:
    """Return the line of an output that says why a stage failed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error:")]
    exceptions = [line for line in lines if EXCEPTION.match(line)]
    return next(iter([*errors, *exceptions, *lines[-1:]]), "no output")
