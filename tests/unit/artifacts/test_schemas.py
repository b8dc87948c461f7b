"""JSON schemas of the artifacts."""

import json

from artifact_samples import dataset_manifest
from jsonschema import Draft202012Validator

from blossomtune.artifacts.schemas import ARTIFACTS, write_schemas


def test_every_artifact_has_a_valid_schema(tmp_path):
    write_schemas(tmp_path)
    names = {path.name.removesuffix(".schema.json") for path in tmp_path.iterdir()}
    assert names == set(ARTIFACTS)
    for path in tmp_path.iterdir():
        schema = json.loads(path.read_text())
        Draft202012Validator.check_schema(schema)
        assert "schema_version" in schema["required"]
        assert schema["additionalProperties"] is False


def test_written_artifact_matches_its_schema(tmp_path):
    write_schemas(tmp_path)
    schema = json.loads((tmp_path / "dataset_manifest.schema.json").read_text())
    Draft202012Validator(schema).validate(dataset_manifest().model_dump(mode="json"))
