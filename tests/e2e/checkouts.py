"""Copies of the workflow, and Snakemake in them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

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


def small_configuration(model):
    """Three teams whose words tell the answer, and few steps."""
    return {
        "run": ["small"],
        "models": {"tiny": {"source": {"kind": "path", "path": str(model)}}},
        "datasets": {
            "words": {
                "source": {"kind": "path", "path": "words.csv"},
                "format": {"kind": "csv"},
                "test": {"size": 12, "stratify_by": "answer"},
            }
        },
        "partitions": {
            "teams": {
                "dataset": "words",
                "partitioner": "natural_id",
                "column": "team",
                "num_partitions": 3,
            }
        },
        "preprocessing": {"short": {"prompt": "{{ word }}?", "completion": "{{ answer }}"}},
        "experiments": {
            "small": {
                "model": "tiny",
                "partition": "teams",
                "preprocessing": "short",
                "training": {
                    "learning_rate_max": "2e-2",  # text, as YAML reads it
                    "arguments": {"per_device_train_batch_size": 8, "max_steps": 12},
                },
                "federation": {"rounds": 3},
                "evaluation": {
                    "choices": ["yes", "no"],
                    "by": "team",
                    "generation": {"rows": 4, "max_new_tokens": 4},
                },
            }
        },
    }


def small_workflow(home, model):
    """A copy of the workflow with that configuration and its data; the folder."""
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
        copy(ROOT / part, home / part)
    (home / "config").mkdir()
    configuration = small_configuration(model)
    (home / "config/config.yaml").write_text(yaml.safe_dump(configuration))
    rows = [
        f"{word}{i},{answer},team {i % 3}"
        for i in range(40)
        for word, answer in (("good", "yes"), ("bad", "no"))
    ]
    (home / "words.csv").write_text("\n".join(["word,answer,team", *rows]) + "\n")
    return home
