"""Held-out rows and settings that tests of the evaluation share."""

from blossomtune.artifacts.metrics import (
    ConfidenceInterval,
    Evaluation,
    ModelMetrics,
    PairedDifference,
)
from blossomtune.evaluation.rows import load_evaluation_set

CHOICES = ["positive", "negative", "neutral"]
TEXTS = [f"text number {i} is {'very ' * (i % 4)}good" for i in range(12)]
LABELS = [CHOICES[i % 3] for i in range(12)]
SETTINGS = {
    "choices": CHOICES,
    "metrics": None,
    "answer": None,
    "by": "domain",
    "generation": {"rows": 4, "max_new_tokens": 5},
    "batch_size": 5,
    "device": "cpu",
    "gpus": 0,
    "dtype": "float32",
    "bootstrap": 200,
    "seed": 42,
    "server_eval_rows": 0,
}


def load_rows(files, settings=SETTINGS):
    """Load the rows that ``write_held_out`` wrote."""
    preprocessed, dataset = files
    return load_evaluation_set(preprocessed, preprocessed.parent / "partition", dataset, settings)


def build_metrics(accuracies=None, losses=(2.5, 0.4)):
    """Return metrics of the base and the federated model on 400 rows."""

    def build_interval(value):
        return ConfidenceInterval(value=value, low=value - 0.02, high=value + 0.02)

    def subtract(values):
        return None if values is None else build_interval(values[1] - values[0])

    base, federated = (
        ModelMetrics(
            rows=400,
            loss=build_interval(losses[i]),
            perplexity=build_interval(1.0),
            accuracy=None if accuracies is None else build_interval(accuracies[i]),
            macro_f1=None,
            confusion=None,
            by_column=None,
            by=None,
            clients=None,
            fairness=None,
        )
        for i in range(2)
    )
    difference = PairedDifference(accuracy=subtract(accuracies), loss=subtract(losses))
    return Evaluation(
        base=base,
        federated=federated,
        centralised=None,
        local=None,
        difference={"base": difference},
        left_out=0,
        leaked=0,
        without_leaks=None,
    )
