"""What the page shows of an experiment, where it is more than a value that was read."""

from typing import Any

from markupsafe import Markup

from blossomtune.reporting import (
    baselines,
    client_results,
    comparison,
    drift,
    drift_summary,
    figures,
    formatting,
    gpus,
    learning_summary,
    method_descriptions,
    outcome,
    partition,
    privacy,
    summary,
    svg,
    usage,
)
from blossomtune.reporting.load import ExperimentResults

NARROW_WIDTH = 340.0
_MAX_LABELS = 12  # a table of more would hide more than it shows


def render_figure(figure: figures.Figure) -> dict[str, Markup]:
    """A figure for a desk and for a phone."""
    return {"wide": figure(svg.WIDE_WIDTH).inline(), "narrow": figure(NARROW_WIDTH).inline()}


def build_experiment_context(number: int, e: ExperimentResults) -> dict[str, Any]:
    """The names that the template of an experiment uses."""
    drawn = {
        **figures.build_figures(e),
        "rows": lambda width: partition.draw_partition(e.partition, width),
    }
    if not drift.rounds_with_drift(e):
        del drawn["drift"]
    clients = client_results.collect_client_results(e)
    if clients:
        drawn["fairness"] = lambda width: client_results.draw_client_results(clients, width)
    return {
        "adapter": method_descriptions.describe_adapter(e),
        "summary": summary.summarize_experiment(e),
        "batch_sizes": learning_summary.describe_batch_sizes(e),
        "clients": clients,
        "baseline_summary": " ".join(baselines.describe_differences(e)),
        "baselines": baselines.explain_baselines(e),
        "drift": " ".join(drift_summary.describe_drift(e)),
        "e": e,
        "examples": _count_examples_by_client(e),
        "client_summary": " ".join(client_results.describe_client_results(clients))
        if clients
        else "",
        "figures": {name: render_figure(figure) for name, figure in drawn.items()},
        "gpus": " ".join(gpus.describe_gpus(e)),
        "format_utilization": gpus.format_utilization,
        "id": f"experiment-{number}",
        "confusion_labels": _confusion_labels(e),
        "learning": " ".join(learning_summary.describe_learning(e)),
        "majority": summary.find_majority_answer(e),
        "bytes_by_client": e.history.bytes_by_client(),
        "model_labels": outcome.MODEL_LABELS,
        "dropped_rows": summary.describe_dropped_rows(e),
        "privacy": privacy.describe_privacy(e),
        "privacy_facts": privacy.format_privacy_facts(e),
        "round_description": method_descriptions.describe_round(e),
        "row_labels": _count_rows_by_label(e),
        "row_format": summary.describe_row_format(e),
        "steps": _format_steps(e),
        "strategy": method_descriptions.format_strategy(e.config["federation"]["strategy"]),
        "loss_target": summary.describe_loss_target(e),
        "total_steps": comparison.count_steps(e),
        "training": method_descriptions.describe_training(e),
        "adapter_snippet": usage.format_adapter_snippet(e),
        "merged_snippet": usage.format_merged_snippet(e),
    }


def build_comparison_context(
    experiments: list[ExperimentResults], anchors: dict[str, str]
) -> dict[str, Any]:
    """The names that the template of the comparison uses.

    Args:
        experiments: of this run.
        ids: where on the page each one is, by its name.
    """
    columns, shared = comparison.find_differing_settings(experiments)
    return {
        "columns": columns,
        "ids": anchors,
        "settings": {e.name: comparison.describe_settings(e) for e in experiments},
        "shared": shared,
        "tests": [
            {
                "figure": render_figure(
                    lambda width, test=test: comparison.draw_comparison(test, width)
                ),
                "summary": comparison.describe_comparison(test),
                "test": test,
            }
            for test in comparison.group_by_test_set(experiments)
        ],
    }


def _confusion_labels(e: ExperimentResults) -> list[str]:
    """The labels of the confusion tables; none where there are too many."""
    confusions = [m.confusion for m in e.metrics.values() if m.confusion]
    labels = sorted({label for c in confusions for gold in c for label in (gold, *c[gold])})
    return labels if len(labels) <= _MAX_LABELS else []


def _count_rows_by_label(e: ExperimentResults) -> dict[str, int]:
    """The labels that are counted by client, and how many rows have each."""
    found = {
        label: sum((share.labels or {}).get(label, 0) for share in e.partition.clients)
        for label in sorted(e.partition.labels or {})
    }
    return found if len(found) <= _MAX_LABELS else {}


def _count_examples_by_client(e: ExperimentResults) -> dict[int, int]:
    """How many examples each client trained on."""
    found: dict[int, int] = {}
    for record in e.history.rounds:
        for c in record.clients:
            found[c.client] = found.get(c.client, 0) + c.examples
    return found


def _format_steps(e: ExperimentResults) -> str:
    """ "10", or "8 to 10" where clients differed."""
    steps = {c.steps for record in e.history.rounds for c in record.clients}
    return formatting.format_range(min(steps), max(steps)) if steps else "no"
