"""Tests of what a node's configuration says about its client and its run."""

import shutil

import pytest
from artifact_samples import client_token_counts, provenance, tokenized_manifest
from federation_samples import federation_spec
from flwr.app import Context, RecordDict

from blossomtune.artifacts.files import write_artifact
from blossomtune.errors import UserError
from blossomtune.federation.client.node_config import get_client, load_node_run

SPEC = federation_spec(names=("north", "south"))


def build_context(node_config, run_config=None):
    return Context(0, 7, node_config, RecordDict(), run_config or {})


@pytest.mark.parametrize("config", [{"partition-id": 1}, {"client": "south"}])
def test_node_names_its_client_by_number_or_name(config):
    assert get_client(build_context(config), SPEC) == 1


@pytest.mark.parametrize(
    ("config", "message"),
    [({}, "this node says neither"), ({"client": "west"}, "this node says client='west'")],
)
def test_node_that_is_no_client_is_an_error_with_their_names(config, message):
    with pytest.raises(UserError, match=rf"{message}\n  hint: clients: north, south"):
        get_client(build_context(config), SPEC)


def test_node_loads_its_own_run_before_the_clients_and_the_servers(build_run, tmp_path):
    run = build_run()
    files = {}
    for cores, name in enumerate(("run", "client-run", "own"), start=1):
        resources = run.resources.model_copy(update={"cores": cores})
        files[name] = str(tmp_path / f"{name}.json")
        run.model_copy(update={"resources": resources}).save(tmp_path / f"{name}.json")
    own = files.pop("own")
    assert load_node_run(build_context({"run": own}, files)).resources.cores == 3
    assert load_node_run(build_context({}, files)).resources.cores == 2
    assert load_node_run(build_context({}, files | {"client-run": ""})).resources.cores == 1


def test_run_that_the_node_cannot_read_is_an_error_with_a_way_out(tmp_path):
    context = build_context({}, {"run": str(tmp_path / "run.json")})
    with pytest.raises(UserError, match=r"cannot read the run .*run.json: No such file.*\n  hint:"):
        load_node_run(context)


def test_overrides_reach_a_node_but_not_the_paths_of_its_own_run(build_run, tmp_path):
    file = str(tmp_path / "run.json")
    run = build_run()
    run.save(tmp_path / "run.json")
    values = {"federation.rounds": 9, "paths.checkpoints": "/elsewhere", "seed": ""}
    shared = load_node_run(build_context({}, values | {"run": file}))
    own = load_node_run(build_context({"run": file}, values))
    assert shared.spec == own.spec and own.spec.federation.rounds == 9
    assert str(shared.paths.checkpoints) == "/elsewhere"
    assert own.paths == run.paths


def test_run_can_be_in_the_configuration_itself(build_run):
    run = build_run()
    assert load_node_run(build_context({}, {"client-run": run.model_dump_json()})) == run


@pytest.fixture
def own_files(build_run, tmp_path):
    """Return a function that makes a node's copies of model and rows, with a number of rows."""
    run = build_run()

    def copy(extra_rows=0):
        folders = {"preprocessed": tmp_path / "rows", "checkpoints": tmp_path / "state"}
        folders["model"] = tmp_path / run.spec.base_model_name
        shutil.copytree(run.paths.model, folders["model"])
        write_artifact(folders["model"] / "provenance.json", provenance())
        rows = [client.num_rows + extra_rows for client in run.spec.clients]
        counts = [client_token_counts(number, count) for number, count in enumerate(rows)]
        shutil.copytree(run.paths.preprocessed, folders["preprocessed"])
        write_artifact(folders["preprocessed"] / "manifest.json", tokenized_manifest(counts))
        return {name: str(folder) for name, folder in folders.items()}

    return run, copy


def test_node_names_paths_of_its_own(own_files):
    run, copy = own_files
    node = copy()
    config = {"client-run": run.model_dump_json(), "paths.checkpoints": "/elsewhere"}
    own = load_node_run(build_context(node, config))
    assert {name: str(path) for name, path in own.paths} == node
    assert own.spec == run.spec


def test_rows_of_a_node_that_are_not_those_of_the_run_are_refused(own_files):
    run, copy = own_files
    context = build_context(copy(extra_rows=1), {"client-run": run.model_dump_json()})
    with pytest.raises(UserError, match=r"paths\.preprocessed: .*rows has other rows"):
        load_node_run(context)
