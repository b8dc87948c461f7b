"""Copies of the workflow with small configurations, and Snakemake in them."""

import os
import subprocess
import sys
from pathlib import Path

import yaml
from checkout import copy_workflow
from patience import PATIENCE

IMAGE = "results/containers/blossomtune.sif"
PARTITION = "results/partitions/halves"
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def start_snakemake(home, *arguments, **environment):
    """Start Snakemake in a copy of the workflow; return the process."""
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=home,
        env=os.environ | {"PATH": PATH} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_snakemake(home, *arguments, **environment):
    """Run Snakemake in a copy of the workflow until it succeeds; return its output."""
    # One core: each further worker would import PyTorch for a few rows.
    process = start_snakemake(home, "--cores", "1", *arguments, **environment)
    output, _ = process.communicate(timeout=PATIENCE)
    logs = [log.read_text(errors="replace")[-3000:] for log in home.glob("results/logs/**/*.log")]
    assert process.returncode == 0, "\n".join([output, *logs])
    return output


def run_step(home, command):
    """Run a stage's command in a copy of the workflow; return the finished process."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=home,
        env=os.environ | {"PATH": PATH},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def write_config(home, config):
    """Replace the configuration of a copy of the workflow."""
    (home / "config/config.yaml").write_text(yaml.safe_dump(config))


def build_partition_config(data, base):
    """Return a configuration that builds the partition ``halves`` of a CSV file."""
    source = {"kind": "path", "path": str(data)}
    test = {"size": 10, "stratify_by": "label"}
    names = {"model": "none", "partition": "halves", "preprocessing": "plain"}
    return {
        "run": ["tiny"],
        "container": {"base": base},
        "models": {"none": {"source": {"kind": "path", "path": "model"}}},
        "datasets": {"words": {"source": source, "format": {"kind": "csv"}, "test": test}},
        "partitions": {"halves": {"dataset": "words", "partitioner": "iid", "num_partitions": 2}},
        "preprocessing": {"plain": {"prompt": "{{ text }}", "completion": "{{ label }}"}},
        "experiments": {"tiny": names},
    }


def build_small_config(model):
    """Return a configuration of three clients whose texts contain the answer, with few steps."""
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


def create_small_workflow(home, model):
    """Copy the workflow with that configuration and its data into a folder; return the folder."""
    copy_workflow(home)
    write_config(home, build_small_config(model))
    rows = [
        f"{word}{i},{answer},team {i % 3}"
        for i in range(40)
        for word, answer in (("good", "yes"), ("bad", "no"))
    ]
    (home / "words.csv").write_text("\n".join(["word,answer,team", *rows]) + "\n")
    return home
