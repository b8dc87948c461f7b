"""Artifacts are written and read with the same definition."""

import json
import math

import pytest
from artifact_samples import dataset_manifest, partition_manifest, round_record, server_evaluation

from blossomtune.artifacts.dataset_manifest import DatasetManifest
from blossomtune.artifacts.files import read_artifact, write_artifact
from blossomtune.artifacts.history import History
from blossomtune.artifacts.partition_manifest import PartitionManifest
from blossomtune.errors import UserError


def test_artifact_is_read_as_it_was_written(tmp_path):
    manifest = partition_manifest(["a", "b"], labels={"yes": 1, "no": 1})
    write_artifact(tmp_path / "manifest.json", manifest)
    assert read_artifact(tmp_path / "manifest.json", PartitionManifest) == manifest


def test_every_file_has_a_schema_version(tmp_path):
    write_artifact(tmp_path / "manifest.json", dataset_manifest())
    assert json.loads((tmp_path / "manifest.json").read_text())["schema_version"] == 1


def test_diverged_losses_stay_numbers(tmp_path):
    evaluation = server_evaluation(math.nan, perplexity=math.inf)
    fields = {"clients": ["a"], "ranks": [1], "device": "cpu", "base_dtype": "float32"}
    fields |= {"strategy": "fedavg"}
    fields |= {"aggregation": "fedavg", "precision": "float32", "stop_reason": None}
    fields |= {"best_round": None, "result_round": 1, "privacy": None}
    history = History(**fields, rounds=[round_record(1, evaluation=evaluation)])
    write_artifact(tmp_path / "history.json", history)
    read = read_artifact(tmp_path / "history.json", History).rounds[0].evaluation
    assert math.isnan(read.loss)
    assert read.perplexity == math.inf


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rowz": 1}, "rowz: Extra inputs are not permitted"),
        ({"seed": "many"}, "seed: Input should be a valid integer"),
        ({"schema_version": 2}, "schema_version: Input should be 1"),
    ],
)
def test_file_of_another_schema_is_rejected(tmp_path, change, message):
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(dataset_manifest().model_dump(mode="json") | change))
    with pytest.raises(UserError, match=message) as error:
        read_artifact(path, DatasetManifest)
    assert str(path) in str(error.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"manifest\.json: this file is needed"):
        read_artifact(tmp_path / "manifest.json", DatasetManifest)
