"""One row of the benchmark table, and the wall time of a program."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

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
