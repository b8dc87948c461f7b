"""One row of the benchmark table, and programs that are timed or that measure themselves."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "workflow_scripts"
sys.path += [str(SCRIPTS), str(ROOT / "tests"), str(ROOT / "tests/unit")]


@dataclass
class Measurement:
    """A measurement of this workflow and of a reference.

    Args:
        name: The measured program and its reference.
        ours: Time, memory or speed of this workflow.
        reference: The same of the reference.
        unit: Unit of both; ``rows/s`` is a speed, of which more is better.
        target: Largest acceptable ratio of ours to the reference, or smallest one of speeds.
    """

    name: str
    ours: float
    reference: float
    unit: str
    target: float

    def to_row(self) -> dict:
        """Return the columns of the table."""
        is_speed = self.unit.endswith("/s")
        digits = None if is_speed else 2
        return {
            "name": self.name,
            "ours": round(self.ours, digits),
            "reference": round(self.reference, digits),
            "unit": self.unit,
            "ratio": round(self.ours / self.reference, 3),
            "target": f"at {'least' if is_speed else 'most'} {round(self.target, 3)}",
        }


def time_program(*command: object, **environment: str) -> float:
    """Return the seconds that a Python program takes from start to exit."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *map(str, command)],
        env=os.environ | {"PYTHONPATH": str(SCRIPTS)} | environment,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - start


def measure_in_process(program: str, *arguments: object) -> Any:
    """Run a Python program; return the JSON of its last line.

    glibc returns freed memory at once there, so that a peak is the memory in use.
    """
    code = os.pathsep.join([str(SCRIPTS), str(ROOT / "tests")])
    environment = os.environ | {"PYTHONPATH": code, "MALLOC_MMAP_THRESHOLD_": str(2**20)}
    command = [sys.executable, program, *map(str, arguments)]
    result = subprocess.run(command, env=environment, check=True, capture_output=True)
    return json.loads(result.stdout.splitlines()[-1])
