import pytest
from artifact_samples import provenance

from blossomtune.artifacts.files import write_artifact
from blossomtune.errors import UserError
from blossomtune.federation.paths import ServerPaths
from blossomtune.federation.run_overrides import (
    apply_overrides,
    list_override_keys,
    load_prepared_run,
)


@pytest.fixture
def run(build_run, tmp_path):
    """Return the run of a server."""
    run = build_run()
    outputs = {"adapter": tmp_path / "adapter", "history": tmp_path / "history.json"}
    paths = ServerPaths(**run.paths.model_dump(), **outputs)
    return run.model_copy(update={"paths": paths})


def test_empty_values_and_keys_of_the_app_override_nothing(run):
    values = dict.fromkeys(list_override_keys(), "") | {"run": "/x", "client-run": "/y"}
    assert apply_overrides(run, values) is run


def test_values_replace_those_of_the_run(run, tmp_path):
    values = {
        "seed": 7,
        "training.learning_rate_max": 0.5,
        "training.arguments.max_steps": 9,
        "federation.rounds": 5,
        "federation.privacy.noise_multiplier": 2.0,
        "paths.adapter": "/elsewhere",
    }
    changed = apply_overrides(run, values)
    spec, federation = changed.spec, changed.spec.federation
    assert (spec.seed, spec.training.learning_rate_max, federation.rounds) == (7, 0.5, 5)
    assert spec.training.arguments == {"per_device_train_batch_size": 2, "max_steps": 9}
    assert (federation.privacy.noise_multiplier, federation.privacy.delta) == (2.0, 1e-5)
    assert str(changed.paths.adapter) == "/elsewhere"
    assert changed.paths.history == run.paths.history
    assert apply_overrides(run, values, with_paths=False).paths == run.paths
    assert spec == apply_overrides(run.redact_for_clients(), values).spec


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("federation.rounds", "many", "rounds: 'many' is not allowed; allowed: a whole number"),
        ("federation.rounds", 0, "rounds: 0 is not allowed; allowed: a number of at least 1"),
        ("federation.rounds", True, "rounds: True is not allowed; allowed: a number"),
        ("federation.result", "first", "'first' is not allowed; allowed: last, best"),
        ("federation.communication.precision", "fp8", "allowed: float32, bfloat16, int8"),
        ("federation.min_clients", 3, "min_clients: 3 can never be reached"),
        ("federation.min_available_clients", 9, "min_available_clients: 9 can never be reached"),
        ("federation.fraction_evaluate", 0.5, "fraction_evaluate: .* validation_size: 0"),
        ("federation.round", 3, "federation.round: unknown key\n.*did you mean 'federation.rounds"),
        ("training.learning_rate_min", 1, "learning_rate_min: 1.0 is above learning_rate_max"),
        ("training.arguments.max_steps", "x", "max_steps: 'x' is not allowed; allowed: a whole"),
        ("training.arguments.optim", "grokadam", "did you mean 'grokadamw'"),
        ("federation.privacy.secret", "/etc/x", "federation.privacy.secret: unknown key"),
        ("lora.r", 2, "lora.r: the run was prepared with it\n.*hint: change the configuration"),
        ("preprocessing.max_length", 2, "preprocessing.max_length: the run was prepared with it"),
        ("paths.adapter", 3, "paths.adapter: 3 is not allowed; allowed: a path"),
    ],
)
def test_override_that_is_not_allowed_is_refused(run, key, value, message):
    with pytest.raises(UserError, match=f"(?s){message}"):
        apply_overrides(run, {key: value})


def test_other_rows_and_another_model_are_refused(run, tmp_path):
    fewer = run.spec.clients[0].model_copy(update={"num_rows": 5})
    clients = (fewer, *run.spec.clients[1:])
    other = run.model_copy(update={"spec": run.spec.model_copy(update={"clients": clients})})
    link = tmp_path / "link"
    link.symlink_to(run.paths.preprocessed)
    with pytest.raises(UserError, match=r"paths.preprocessed: .*link has other rows"):
        apply_overrides(other, {"paths.preprocessed": str(link)})
    write_artifact(tmp_path / "provenance.json", provenance())
    with pytest.raises(UserError, match=r"paths.model: .*the run was prepared with"):
        apply_overrides(run, {"paths.model": str(tmp_path)})


def test_paths_of_a_run_file_start_at_its_folder(run, tmp_path):
    relative = {name: str(path.name) for name, path in run.paths}
    run.model_copy(update={"paths": ServerPaths(**relative)}).save(tmp_path / "run.json")
    loaded = load_prepared_run(tmp_path / "run.json")
    assert loaded.paths.adapter == tmp_path / "adapter"
    assert loaded.paths.model == tmp_path / run.paths.model.name


def test_file_that_is_no_run_of_a_server_is_refused(run, tmp_path):
    file = tmp_path / "run.json"
    with pytest.raises(UserError, match=r"run.json cannot be read: No such file"):
        load_prepared_run(file)
    file.write_text("{}")
    with pytest.raises(UserError, match=r"run.json is no run file of this version"):
        load_prepared_run(file)
    run.redact_for_clients().save(file)
    with pytest.raises(UserError, match=r"run.json is the run file of a client"):
        load_prepared_run(file)
