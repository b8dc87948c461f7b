import pytest
from artifact_samples import client_token_counts, provenance, tokenized_manifest
from federation_samples import federation_spec

from blossomtune.artifacts.files import write_artifact
from blossomtune.config.training import TrainingSettings
from blossomtune.federation.paths import ClientPaths
from blossomtune.federation.run_identity import build_run_identity
from blossomtune.json_diff import diff_json


@pytest.fixture
def build_identity(tmp_path):
    """Return a function that builds the identity of a run from keys of the federation block."""
    write_artifact(tmp_path / "provenance.json", provenance())
    write_artifact(tmp_path / "manifest.json", tokenized_manifest([client_token_counts(0)]))
    paths = ClientPaths(model=tmp_path, preprocessed=tmp_path, checkpoints=tmp_path)
    return lambda **keys: build_run_identity(federation_spec(**keys), paths, "cpu")


@pytest.mark.parametrize(
    "changed",
    [
        {"min_clients": 2},
        {"round_timeout": 5},
        {"quarantine": 0},
        {"keep_checkpoints": 9},
        {"gpus_per_client": 0.5},
        {"engine": {"name": "simulation", "address": "a.example:6379"}},
        {"early_stopping": {"patience": 1}},
        {"result": "best"},
        {"communication": {"budget_mb": 3}},
    ],
)
def test_execution_and_selection_keys_are_not_part_of_the_identity(build_identity, changed):
    assert build_identity(**changed) == build_identity()


@pytest.mark.parametrize(
    "changed",
    [
        {"aggregation": "flexlora"},
        {"strategy": {"name": "fedprox", "mu": 0.5}},
        {"fraction_train": 0.5},
        {"rounds": 9},
        {"communication": {"precision": "int8"}},
        {"privacy": {"noise_multiplier": 2.0}},
        {"evaluate_rows": 3},
    ],
)
def test_keys_that_change_weights_are_part_of_the_identity(build_identity, changed):
    assert build_identity(**changed) != build_identity()


def test_the_dtype_of_the_base_is_part_of_the_identity(build_identity):
    training = TrainingSettings(base_dtype="bfloat16")
    assert build_identity(training=training) != build_identity()


def test_other_code_changes_the_identity(build_identity, monkeypatch):
    before = build_identity()
    build_run_identity.cache_clear()
    monkeypatch.setattr(
        "blossomtune.code_dependencies.compute_code_digest", lambda step: f"other code of {step}"
    )
    after = build_identity()
    build_run_identity.cache_clear()
    assert [change[:5] for change in diff_json(before, after)] == ["code:"]
    assert after["code"] == "other code of federate"


def test_number_of_rounds_counts_only_if_the_learning_rate_depends_on_it(build_identity):
    def build(minimum, **keys):
        training = TrainingSettings(learning_rate_max=1e-3, learning_rate_min=minimum)
        return build_identity(training=training, **keys)

    changes = diff_json(build(1e-4, rounds=2), build(1e-4, rounds=3))
    assert changes == ["federation.rounds: 2, now 3"]
    assert build(1e-3, rounds=9) == build(1e-3, rounds=3)
    assert build(1e-3) == build(1e-3, min_clients=1, round_timeout=5)
    assert build(1e-3) != build(1e-3, fraction_train=0.5)
