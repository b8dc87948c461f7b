"""The default experiment: configuration and inputs of its federate step."""

import subprocess
from pathlib import Path

import yaml
from measurement import ROOT

from blossomtune.config import stage_inputs
from blossomtune.config.load import load_configuration


def prepare_default() -> tuple[dict, dict[str, Path]]:
    """Return the step's configuration and inputs; build the inputs that are missing."""
    configuration = load_configuration(yaml.safe_load((ROOT / "config/config.yaml").read_text()))
    name = configuration.run[0]
    experiment = configuration.experiments[name]
    preprocessed = ROOT / "results/preprocessed" / experiment.partition / experiment.preprocessing
    inputs = {
        "model": ROOT / "results/models" / experiment.model,
        "partition": ROOT / "results/partitions" / experiment.partition,
        "preprocessed": preprocessed / experiment.model,
    }
    targets = [str(path.relative_to(ROOT)) for path in inputs.values()]
    subprocess.run(["snakemake", *targets, "--cores", "all", "--quiet"], cwd=ROOT, check=True)
    return stage_inputs.federate(configuration, name), inputs


def build_outputs(folder: Path) -> dict[str, Path]:
    """Return the paths of the step's outputs."""
    names = {"adapter": "adapter", "history": "history.json", "checkpoints": "checkpoints"}
    return {key: folder / name for key, name in names.items()}


def to_options(paths: dict[str, Path]) -> list[str]:
    """Return paths as command-line options."""
    return [item for key, path in paths.items() for item in (f"--{key}", str(path))]
