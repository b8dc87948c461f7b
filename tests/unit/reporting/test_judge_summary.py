"""Verdicts of a judge model."""

import dataclasses

from artifact_samples import judge_results, judged_pair

from blossomtune.artifacts.metrics import ConfidenceInterval
from blossomtune.reporting.judge_summary import describe_judge


def test_win_rate_is_described_with_its_interval(experiment):
    e = dataclasses.replace(experiment, judge=judge_results())
    assert describe_judge(e).replace("\u202f", " ") == (
        "By judge-1, a judge model, the federated model wins 67 % of six comparisons with the base "
        "(ties count half; 95 % interval 57 % to 77 %)."
    )


def test_interval_around_a_half_may_be_chance(experiment):
    pair = judged_pair(win_rate=ConfidenceInterval(value=0.6, low=0.45, high=0.75))
    e = dataclasses.replace(experiment, judge=judge_results(pairs={"base": pair}))
    assert describe_judge(e).endswith(", which may be chance.")


def test_nothing_is_said_without_a_judge(experiment):
    assert describe_judge(experiment) == ""
