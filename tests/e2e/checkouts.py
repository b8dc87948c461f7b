"""Copies of the workflow, and Snakemake in them."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "results/containers/blossomtune.sif"
PARTITION = "results/partitions/halves"
PARTS = ("Snakefile", "rules", "profiles", "workflow_scripts", "containers", "envs")
CONFIG = """
run: [tiny]
container: {{base: "{base}"}}
models: {{none: {{source: {{kind: path, path: model}}}}}}
datasets:
  words:
    source: {{kind: path, path: "{data}"}}
    format: {{kind: csv}}
    test: {{size: 10, stratify_by: label}}
partitions: {{halves: {{dataset: words, partitioner: iid, num_partitions: 2}}}}
preprocessing: {{plain: {{prompt: "{{{{ text }}}}", completion: "{{{{ label }}}}"}}}}
experiments: {{tiny: {{model: none, partition: halves, preprocessing: plain}}}}
"""


def snakemake(where, *arguments, **environment):
    """Runs Snakemake on a checkout; returns what it said."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
        cwd=where,
        env={**os.environ, "PATH": path, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    logs = [log.read_text(errors="replace")[-3000:] for log in where.glob("results/logs/**/*.log")]
    assert done.returncode == 0, "\n".join([done.stdout, *logs])
    return done.stdout
