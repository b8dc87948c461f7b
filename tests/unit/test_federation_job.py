"""What a federation knows of its clients, and what its checkpoints depend on."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from blossomtune.config.federation import FederationSettings
from blossomtune.config.lora import LoraSettings
from blossomtune.config.training import TrainingSettings
from blossomtune.errors import UserError
from blossomtune.federation.paths import ClientPaths
from blossomtune.federation.run_identity import build_run_identity
from blossomtune.federation.spec import ClientSpec, FederationSpec
from blossomtune.files import write_json
from blossomtune.json_diff import diff_json
from blossomtune.training.ranks import resolve_client_ranks

NAMES = ["ward", "clinic"]
BY_COLUMN = {"column": "gpu", "ranks": {"small": 4, "1": 8}}


@pytest.fixture
def partition(tmp_path):
    """Writes the clients' column ``gpu`` and returns the partition's directory."""

    def write(*values):
        for i, column in enumerate(values):
            table = pa.table({"gpu": column, "text": ["a"] * len(column)})
            pq.write_table(table, tmp_path / f"client_{i}.parquet")
        return tmp_path

    return write


def test_without_ranks_all_have_the_servers(partition):
    assert resolve_client_ranks(LoraSettings(r=5), partition(), NAMES) == [5, 5]
    assert resolve_client_ranks(LoraSettings(r=5, ranks=[2, 5]), partition(), NAMES) == [2, 5]


def test_ranks_by_a_column(partition):
    lora = LoraSettings(r=8, ranks=BY_COLUMN)
    assert resolve_client_ranks(lora, partition(["small", "small"], ["1"]), NAMES) == [4, 8]
    assert resolve_client_ranks(lora, partition([1, 1], [1]), NAMES) == [
        8,
        8,
    ]  # numbers are their text


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("gpu", (["small"], ["big"]), "client 1 (clinic) has 'big' in column 'gpu'"),
        ("gpu", (["small", "1"], ["1"]), "client 0 (ward) has '1', 'small' in column 'gpu'"),
        ("gpus", (["small"], ["1"]), "did you mean 'gpu'?"),
    ],
)
def test_a_column_that_does_not_say_one_rank_is_told(partition, column, values, message):
    lora = LoraSettings(r=8, ranks=BY_COLUMN | {"column": column})
    with pytest.raises(UserError) as error:
        resolve_client_ranks(lora, partition(*values), NAMES)
    assert message in str(error.value)


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
    write_json(tmp_path / "provenance.json", {"files": {}})
    write_json(tmp_path / "manifest.json", {"clients": [], "test": {"sha256": "0"}})
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
