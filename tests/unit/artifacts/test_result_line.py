"""Tests of the line that describes a result."""

from evaluation_samples import build_metrics

from blossomtune.artifacts.metrics import LeakFreeMetrics, SampledInterval
from blossomtune.artifacts.result_line import describe_result


def describe(metrics):
    return describe_result(metrics.base, metrics.federated, metrics.difference["base"])


def test_accuracy_is_described_with_the_interval_of_the_difference():
    assert describe(build_metrics(accuracies=(0.42, 0.72))) == (
        "accuracy 42.0% before and 72.0% after training on 400 held-out rows "
        "(+30.0 points, 95 % interval +28.0 to +32.0)"
    )


def test_loss_is_described_without_choices():
    assert describe(build_metrics()) == (
        "loss 2.500 before and 0.400 after training on 400 held-out rows "
        "(-2.100, 95 % interval -2.120 to -2.080)"
    )


def test_metrics_of_answers_are_described_without_choices():
    metrics = build_metrics()
    before, after, change = (
        {"rouge_l": SampledInterval(value=value, low=value - 0.1, high=value + 0.1, rows=64)}
        for value in (0.25, 0.5, 0.25)
    )
    line = describe_result(
        metrics.base.model_copy(update={"answer_metrics": before}),
        metrics.federated.model_copy(update={"answer_metrics": after}),
        metrics.difference["base"].model_copy(update={"answer_metrics": change}),
    )
    assert line == (
        f"{describe(metrics)}; ROUGE-L 25.0% before and 50.0% after on 64 answers "
        "(+25.0 points, +15.0 to +35.0)"
    )


def test_rows_that_are_in_training_are_described():
    metrics, others = build_metrics(accuracies=(0.42, 0.72)), build_metrics(accuracies=(0.4, 0.6))
    without_leaks = LeakFreeMetrics(models=others.models, difference=others.difference)
    change = metrics.base, metrics.federated, metrics.difference["base"]
    assert describe_result(*change, 9, without_leaks) == (
        f"{describe(metrics)}; 9 of these rows are in the training rows, too; {describe(others)}"
    )
    assert describe_result(*change, 400) == (
        f"{describe(metrics)}; 400 of these rows are in the training rows, too"
    )
