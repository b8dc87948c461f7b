"""Tests of the line that describes a result."""

from evaluation_samples import build_metrics

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
