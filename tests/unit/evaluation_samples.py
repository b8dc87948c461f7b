"""Held-out rows and settings that tests of the evaluation share."""

from blossomtune.evaluation.rows import load_evaluation_set

CHOICES = ["positive", "negative", "neutral"]
TEXTS = [f"text number {i} is {'very ' * (i % 4)}good" for i in range(12)]
LABELS = [CHOICES[i % 3] for i in range(12)]
SETTINGS = {
    "choices": CHOICES,
    "by": "domain",
    "generation": {"rows": 4, "max_new_tokens": 5},
    "batch_size": 5,
    "bootstrap": 200,
    "seed": 42,
    "server_eval_rows": 0,
}


def load_rows(files, settings=SETTINGS):
    """Load the rows that ``write_held_out`` wrote."""
    preprocessed, dataset = files
    return load_evaluation_set(preprocessed, preprocessed.parent / "partition", dataset, settings)
