"""A copy of the workflow to ask, so that no test touches the results of this repository."""

import os
import re
import shutil
from pathlib import Path

import yaml
from forked_snakemake import run_snakemake_forked

ROOT = Path(__file__).resolve().parents[2]
PARTS = (
    "Snakefile",
    "workflow",
    "rules",
    "report",
    "profiles",
    "config",
    "workflow_scripts",
    "containers",
    "envs",
)
CONFIG = "config/config.yaml"


def copy_workflow(target):
    """Copy the files of the workflow into a folder."""
    target.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, target / part)
        else:
            shutil.copy2(ROOT / part, target / part)


class Checkout:
    """A directory with the files of the workflow."""

    def __init__(self, root):
        self.root = root

    def snakemake(self, *arguments, path=None, cores=1, **environment):
        """Runs Snakemake in it; ``path`` is a folder to find programs in first."""
        environment = os.environ | environment
        if path:
            environment["PATH"] = f"{path}{os.pathsep}{environment['PATH']}"
        command = [*map(str, arguments), "--cores", str(cores)]
        return run_snakemake_forked(command, self.root, environment)

    def planned(self, *arguments):
        """Return the number of jobs per rule that a dry run plans."""
        done = self.snakemake("--dry-run", *arguments)
        assert done.returncode == 0, done.stderr
        if "Nothing to be done" in done.stdout:
            return {}
        table = re.search(r"Job stats:\n.*\n[- ]+\n((?:\w+ +\d+\n)+)total", done.stdout)
        return {rule: int(n) for rule, n in re.findall(r"(\w+) +(\d+)", table[1])}

    def configure(self, change, **style):
        """Changes the configuration's data by a function; comments get lost on the way."""
        file = self.root / CONFIG
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
        change(data)
        file.write_text(yaml.safe_dump(data, **{"sort_keys": False} | style), encoding="utf-8")

    def append(self, name, line):
        """Appends a line to a file."""
        with (self.root / name).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
