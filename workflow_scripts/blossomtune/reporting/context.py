"""Collect the values that the templates show."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from markupsafe import Markup

from blossomtune.reporting import (
    answer_view,
    baselines,
    benchmark_scores,
    charts,
    client_results,
    comparison,
    drift_summary,
    figures,
    formatting,
    gpus,
    headline,
    judge_summary,
    leaks,
    learning_summary,
    method_descriptions,
    outcome,
    partition,
    privacy,
    summary,
    usage,
)
from blossomtune.reporting.load import ExperimentResults

_MAX_LABELS = 12  # a table of more would hide more than it shows


def render_figure(draw: figures.DrawFunction) -> dict[str, Markup]:
    """Return a figure as HTML, for screens and for phones."""
    return {"wide": draw(charts.WIDE_WIDTH).inline(), "narrow": draw(charts.NARROW_WIDTH).inline()}


def build_experiment_context(
    number: int, e: ExperimentResults, drawings: Mapping[str, figures.DrawFunction]
) -> dict[str, Any]:
    """Return the variables of an experiment's template.

    Args:
        number: number of the experiment on the page, from 1.
        e: the experiment.
        drawings: its figures by name.

    Returns:
        Value by name of the variable. Figures are HTML at two widths, ``wide`` and ``narrow``.
    """
    drawn: dict[str, figures.DrawFunction] = {
        **drawings,
        "rows": partial(partition.draw_partition, e.partition),
    }
    if not drift_summary.rounds_with_drift(e):
        del drawn["drift"]
    clients = client_results.collect_client_results(e)
    if clients:
        drawn["fairness"] = partial(client_results.draw_client_results, clients)
    return {
        "adapter": method_descriptions.describe_adapter(e),
        "answer_metrics": headline.collect_answer_metrics(e),
        "answers": answer_view.build_answers_context(e),
        "benchmarks": benchmark_scores.build_benchmarks_context(e),
        "judge": judge_summary.describe_judge(e),
        "label_model": partial(outcome.label_model, e),
        "summary": summary.summarize_experiment(e),
        "batch_sizes": learning_summary.describe_batch_sizes(e),
        "change": headline.get_main_change(e),
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
        "duplicates": leaks.describe_duplicates(e),
        "client_duplicates": e.leaks.clients if leaks.has_duplicates(e) else [],
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
    experiments: Sequence[ExperimentResults], anchors: Mapping[str, str]
) -> dict[str, Any]:
    """Return the variables of the comparison's template.

    Args:
        experiments: the experiments of the run.
        anchors: anchor on the page by name of the experiment.

    Returns:
        Value by name of the variable; ``tests`` has one entry per test set, with figure and
        summary.
    """
    columns, shared = comparison.find_differing_settings(experiments)
    return {
        "columns": columns,
        "ids": anchors,
        "settings": {e.name: comparison.describe_settings(e) for e in experiments},
        "shared": shared,
        "tests": [
            {
                "figure": render_figure(partial(comparison.draw_comparison, test)),
                "summary": comparison.describe_comparison(test),
                "test": test,
            }
            for test in comparison.group_by_test_set(experiments)
        ],
    }


def _confusion_labels(e: ExperimentResults) -> list[str]:
    """Return the labels of the confusion tables; none if there are too many."""
    confusions = [m.confusion for m in e.metrics.values() if m.confusion]
    labels = sorted({label for c in confusions for gold in c for label in (gold, *c[gold])})
    return labels if len(labels) <= _MAX_LABELS else []


def _count_rows_by_label(e: ExperimentResults) -> dict[str, int]:
    """Return the training rows of all clients by label; nothing if there are too many labels."""
    counts = {
        label: sum((client.labels or {}).get(label, 0) for client in e.partition.clients)
        for label in sorted(e.partition.labels or {})
    }
    return counts if len(counts) <= _MAX_LABELS else {}


def _count_examples_by_client(e: ExperimentResults) -> dict[int, int]:
    """Return the examples that each client trained on."""
    counts = Counter[int]()
    for record in e.history.rounds:
        for client in record.clients:
            counts[client.client] += client.examples
    return dict(counts)


def _format_steps(e: ExperimentResults) -> str:
    """Return the steps per client and round: "10", or "8 to 10" if clients differed."""
    steps = {c.steps for record in e.history.rounds for c in record.clients}
    return formatting.format_range(min(steps), max(steps)) if steps else "no"
