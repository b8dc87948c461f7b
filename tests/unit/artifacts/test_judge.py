"""Tests of judge.json."""

import pytest
from artifact_samples import judge_results, judged_pair
from pydantic import ValidationError

from blossomtune.artifacts.files import read_artifact, write_artifact
from blossomtune.artifacts.judge import JudgeResults


def test_results_are_read_as_written(tmp_path):
    write_artifact(tmp_path / "judge.json", judge_results())
    assert read_artifact(tmp_path / "judge.json", JudgeResults) == judge_results()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rows": 7}, "not all rows"),
        ({"ties": 2, "inconsistent": 2, "unreadable": 1}, "more than the ties"),
    ],
)
def test_counts_that_contradict_each_other_are_an_error(fields, message):
    with pytest.raises(ValidationError, match=message):
        judged_pair(**fields)
