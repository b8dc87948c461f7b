"""The suites of the FlowerTune LLM leaderboard as groups of tasks.

Each file of tasks names its source, and the data sets on the hub.
"""

from pathlib import Path

from blossomtune.benchmarks.flowertune import finance as _functions  # noqa: F401 - of task files

FLOWERTUNE_DIR = Path(__file__).parent
"""Folder of the task files."""

TASK_FILES = (
    "flowertune-general.yaml",
    "flowertune-finance.yaml",
    "flowertune-medical.yaml",
    "flowertune-code.yaml",
    "flowertune_fpb.yaml",
    "flowertune_fiqa.yaml",
    "flowertune_tfns.yaml",
)
"""All task files; a change of one reruns the benchmarks."""
