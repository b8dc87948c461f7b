"""Write envs/environment.yaml, the conda environment of every rule, from envs/requirements.lock."""

import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOCK = HERE / "requirements.lock"
ENVIRONMENT = HERE / "environment.yaml"

HEADER = """\
# Generated from requirements.lock by `make lock`; do not edit. Used by `snakemake --sdm conda`.
# Snakemake copies this file before it reads it, so the packages are listed here, not referred to.
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python =3.11
  - pip
  - pip:
"""


def read_pins(lock: str) -> list[str]:
    """Return the requirements of a lock file, without its comments.

    Args:
        lock: text of a file that `uv pip compile` wrote, one requirement per line.
    """
    lines = (line.partition("#")[0].strip() for line in lock.splitlines())
    return [line for line in lines if line]


def render_environment(pins: list[str]) -> str:
    """Return the text of a conda environment file.

    Args:
        pins: requirements, in the order in which they are listed.
    """
    return HEADER + "".join(f"      - {json.dumps(pin) if ';' in pin else pin}\n" for pin in pins)


def main() -> None:
    """Read the lock and write the environment file beside it."""
    pins = read_pins(LOCK.read_text(encoding="utf-8"))
    ENVIRONMENT.write_text(render_environment(pins), encoding="utf-8")


if __name__ == "__main__":
    main()
