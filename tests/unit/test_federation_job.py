"""What a federation knows of its clients, and what its checkpoints depend on."""

import pytest
from artifact_samples import provenance, tokenized_manifest

from blossomtune.artifacts.files import write_artifact
from blossomtune.config.federation import FederationSettings
from blossomtune.config.lora import LoraSettings
from blossomtune.config.training import TrainingSettings
from blossomtune.federation.paths import ClientPaths
from blossomtune.federation.run_identity import build_run_identity
from blossomtune.federation.spec import ClientSpec, FederationSpec
from blossomtune.json_diff import diff_json


@pytest.fixture
def build_spec():
    """Builds a specification from keys of the federation block."""

    def build(lora=None, training=None, **federation):
        return FederationSpec(
            seed=1,
            lora=lora or LoraSettings(),
            training=training or TrainingSettings(),
            federation=FederationSettings(**federation),
            clients=(ClientSpec(name="a", num_rows=1, rank=8),),
            base_model_name="base",
        )

    return build


@pytest.fixture
def build_identity(build_spec, tmp_path):
    """Builds the identity of checkpoints from the same keys."""
    write_artifact(tmp_path / "provenance.json", provenance())
    write_artifact(tmp_path / "manifest.json", tokenized_manifest())
    paths = ClientPaths(model=tmp_path, preprocessed=tmp_path, checkpoints=tmp_path)
    return lambda **keys: build_run_identity(build_spec(**keys), paths, "cpu")


@pytest.mark.parametrize(
    "changed",
    [
        {"min_clients": 2},
        {"round_timeout": 5},
        {"keep_checkpoints": 9},
        {"gpus_per_client": 0.5},
        {"early_stopping": {"patience": 1}},
        {"result": "best"},
        {"communication": {"budget_mb": 3}},
    ],
)
def test_keys_that_change_no_finished_round(build_identity, changed):
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
def test_keys_that_change_rounds(build_identity, changed):
    assert build_identity(**changed) != build_identity()


def test_other_code_makes_other_rounds(build_identity, monkeypatch):
    before = build_identity()
    build_run_identity.cache_clear()
    monkeypatch.setattr(
        "blossomtune.code_dependencies.compute_code_digest", lambda step: f"other code of {step}"
    )
    after = build_identity()
    build_run_identity.cache_clear()
    assert [change[:5] for change in diff_json(before, after)] == ["code:"]
    assert after["code"] == "other code of federate"


def test_rounds_count_only_where_the_learning_rate_depends_on_them(build_identity):
    same = TrainingSettings(learning_rate_max=1e-3, learning_rate_min=1e-3)
    more, fewer = (build_identity(training=same, rounds=n) for n in (9, 3))
    assert more == fewer


@pytest.mark.parametrize(
    ("keeps", "keys"),
    [
        (False, {}),
        (False, {"strategy": "fedadam"}),
        (True, {"strategy": "scaffold"}),
        (True, {"aggregation": "flora"}),
        (True, {"communication": {"precision": "int8"}}),
        (True, {"training": TrainingSettings(optimizer_state="kept")}),
    ],
)
def test_clients_keep_something_only_where_it_is_needed(build_spec, keeps, keys):
    assert build_spec(**keys).has_client_state == keeps
