"""A round on SuperLink and SuperNodes of Flower's own; reference: an empty app on the same ones."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench_deployment import measure_overhead, run_empty_app, start_flower
from default_experiment import prepare_default
from measurement import SCRIPTS, Measurement

LOAD = """
import sys, time
from pathlib import Path
import flwr.clientapp
start = time.perf_counter()
from blossomtune.config.lora import LoraSettings
from blossomtune.federation.client.train import train_round
from blossomtune.modeling.load import load_model, parse_dtype
from blossomtune.training.adapter import build_peft_model
base = load_model(Path(sys.argv[1]), parse_dtype("float32"))
build_peft_model(base, LoraSettings.model_validate_json(sys.argv[2]), 0)
print(time.perf_counter() - start)
"""
"""Program with the work of a client's process before its first step, without Flower's start."""


def flower() -> Measurement:
    """Measure a round without its optimizer steps, and what a process of a client must load."""
    config, inputs = prepare_default()
    with tempfile.TemporaryDirectory() as name, start_flower(Path(name)) as address:
        empty = run_empty_app(Path(name))
        ours = measure_overhead({"name": "flower", "address": address})
    loading = _measure_loading(inputs["model"], config["lora"])
    process = measure_overhead({"name": "process"})
    print(
        f"a round without its steps: flower {ours:.2f} s, process {process:.2f} s, "
        f"empty app {empty:.2f} s; loading {loading:.2f} s"
    )
    title = "a round without its steps, engine flower / empty app and loading"
    return Measurement(title, ours, empty + loading, "s", 1.2)


def _measure_loading(model: Path, lora: dict) -> float:
    """Return the seconds in which a process of a client loads libraries and model."""
    command = [sys.executable, "-c", LOAD, str(model), json.dumps(lora)]
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])
