"""The default experiment: its settings, and the files that its federation starts from."""

import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "workflow_scripts"
sys.path.insert(0, str(SCRIPTS))

from blossomtune.config import stage_inputs  # noqa: E402
from blossomtune.config.load import load_configuration  # noqa: E402


def prepared() -> tuple[dict, dict[str, Path]]:
    """What ``federate`` gets, and its model, partition and preprocessed rows, made if missing."""
    configuration = load_configuration(yaml.safe_load((ROOT / "config/config.yaml").read_text()))
    name = configuration.run[0]
    chosen = configuration.experiments[name]
    preprocessed = ROOT / "results/preprocessed" / chosen.partition / chosen.preprocessing
    files = {
        "model": ROOT / "results/models" / chosen.model,
        "partition": ROOT / "results/partitions" / chosen.partition,
        "preprocessed": preprocessed / chosen.model,
    }
    needed = [str(path.relative_to(ROOT)) for path in files.values()]
    subprocess.run(["snakemake", *needed, "--cores", "all", "--quiet"], cwd=ROOT, check=True)
    return stage_inputs.federate(configuration, name), files


def places(scratch: Path) -> dict[str, Path]:
    """Where a federation writes to."""
    names = {"adapter": "adapter", "history": "history.json", "checkpoints": "checkpoints"}
    return {key: scratch / name for key, name in names.items()}
