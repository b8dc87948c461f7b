"""A client of engine ``external`` prepares its SuperNode from the files that it was sent."""

import shutil

import pyarrow as pa
import pytest
from external_clients import CLIENTS, build_config

from blossomtune.config import stage_inputs
from blossomtune.data.partitioning import build_partition
from blossomtune.data.tokenization import build_tokenized
from blossomtune.deployment.client_setup import prepare_client
from blossomtune.errors import UserError
from blossomtune.federation.messages.replies import TRAIN_METRICS
from blossomtune.federation.run import FederatedRun
from blossomtune.files import read_json, write_json
from blossomtune.training.initial_adapter import build_initial_adapter
from blossomtune.version import __version__


@pytest.fixture
def folder(external_files, tmp_path):
    """Return the folder of client ``south``, with the model and its rows beside it."""
    folder = tmp_path / "south"
    shutil.copytree(external_files / "keys/invitations/x/south", folder)
    shutil.copytree(external_files / "tiny", folder / "model")
    shutil.copy(external_files / "south.csv", folder)
    return folder


def test_client_prepares_the_same_token_ids_as_the_server(
    external_files, folder, tiny_model, tmp_path
):
    """The files have the same bytes and the client's number among all clients."""
    prepare_client(folder, folder / "south.csv", 1)
    supernode = read_json(folder / "work/supernode.json")
    assert supernode["name"] == "supernode_1"
    arguments = supernode["arguments"]
    assert arguments[arguments.index("--superlink") + 1] == "link.example:9092"
    paths = {name: str(external_files / f"{name}.csv") for name in CLIENTS}
    config = build_config(tiny_model, external_files / "keys", {"paths": paths})
    for name in ("rows", "tokens"):
        (tmp_path / name).mkdir()
    build_partition.build_partition(
        stage_inputs.partition(config, "p"), external_files / "words", tmp_path / "rows"
    )
    build_tokenized.tokenize_partition(
        stage_inputs.preprocess(config, "t"),
        external_files / "tiny",
        external_files / "words",
        tmp_path / "rows",
        tmp_path / "tokens",
    )
    tokens = folder / "work/tokens"
    expected = (tmp_path / "tokens/client_1.arrow").read_bytes()
    assert (tokens / "client_1.arrow").read_bytes() == expected
    assert sorted(path.name for path in tokens.iterdir()) == ["client_1.arrow", "manifest.json"]
    with pa.ipc.open_stream(str(tokens / "client_1.arrow")) as stream:
        assert stream.read_all().num_rows == len(CLIENTS["south"])
    run = FederatedRun.load(folder / "work/run.json")
    assert [(c.name, c.num_rows) for c in run.spec.clients] == [("north", 0), ("south", 2)]
    prepare_client(folder, folder / "south.csv", 1)  # again, as after an interruption


def change_bundle(folder, **values):
    file = folder / "invitation.json"
    write_json(file, read_json(file) | values)


def change_setting(folder, *path, value):
    """Change one setting of an invitation, as a malicious server may."""
    bundle = read_json(folder / "invitation.json")
    block = bundle
    for key in path[:-1]:
        block = block[key]
    block[path[-1]] = value
    write_json(folder / "invitation.json", bundle)


ARGUMENTS = ("federate", "training", "arguments")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("superlink",), "evil.example:9092", "address 'evil.example:9092' is not the engine's"),
        (("superlink",), "--run=/etc/passwd", "address '--run=/etc/passwd' is not the engine's"),
        (("client",), "east", "client 'east' is not one of north, south"),
        (("model", "name"), "../../../tmp/x", "'../../../tmp/x'"),
        (("model", "config", "source"), {"kind": "url", "url": "http://x"}, "ModelSettings"),
        (("model", "config", "source"), {"kind": "path", "path": "/", "x": 1}, "path.x"),
        (("partition", "paths"), {"south": "/etc"}, "give one of paths and clients"),
        (("partition", "reading", "source"), {"kind": "mixture"}, "DatasetSettings"),
        (("partition", "reading", "derive"), {"x": "{{ ("}, "not a valid template"),
        (("preprocessing", "prompt"), "{% if %}", "not a valid template"),
        (("preprocessing", "cache_dir"), "/tmp", "PreprocessingSettings: cache_dir"),
        (("federate", "more"), 1, r"unknown settings: \['more'\]"),
        (("federate", "seed"), "x", "seed is 'x' and not a whole number"),
        (("federate", "federation", "rounds"), 10**9, "rounds is 1000000000; at most 100000"),
        (("federate", "federation", "privacy", "secret"), "/etc/x", "names a file, and clients"),
        (("federate", "training", "learning_rate_max"), 1e9, "at most 1.0 is allowed"),
        (ARGUMENTS, {"max_stepz": 3}, "max_stepz: SFTConfig has no such argument"),
        (ARGUMENTS, {"report_to": "wandb"}, "report_to: cannot be set"),
        (ARGUMENTS, {"push_to_hub": True}, "push_to_hub: cannot be set"),
        (ARGUMENTS, {"trust_remote_code": True}, "trust_remote_code: cannot be set"),
        (ARGUMENTS, {"deepspeed": "/etc/x.json"}, "deepspeed: .* is text, which could name a file"),
        (ARGUMENTS, {"fsdp_config": {"a": ["/x"]}}, "fsdp_config: .* is text, which could name"),
        (ARGUMENTS, {"hub_model_id": "a/b"}, "hub_model_id: 'a/b' is text"),
    ],
)
def test_forged_invitation_is_refused_before_anything_is_read(folder, path, value, message):
    change_setting(folder, *path, value=value)
    with pytest.raises(UserError, match=rf"(?s)invitation\.json: .*{message}"):
        prepare_client(folder, folder / "south.csv", 1)
    assert not (folder / "work").exists()


def test_base_model_is_fetched_with_the_owner_s_consent_only(folder):
    source = {"kind": "hub", "repo": "evil/model", "revision": "main"}
    change_setting(folder, "model", "config", "source", value=source)
    (folder / "model").rename(folder / "elsewhere")
    with pytest.raises(UserError, match=r"\(kind hub, repo evil/model, revision main\)") as error:
        prepare_client(folder, folder / "south.csv", 1)
    assert "or add --fetch-model" in str(error.value)


def test_client_shows_what_it_will_send(folder, caplog):
    caplog.set_level("INFO")
    prepare_client(folder, folder / "south.csv", 1)
    sent = read_json(folder / "work/sent.json")
    run = FederatedRun.load(folder / "work/run.json")
    state = build_initial_adapter(folder / "model", run.spec.lora, run.spec.seed).state
    assert sent["tensors"] == {name: list(value.shape) for name, value in state.items()}
    assert sent["metrics"] == list(TRAIN_METRICS)
    numbers = sum(value.numel() for value in state.values())
    assert 4 * numbers < sent["max_bytes"] < 4 * numbers + 20_000
    for line in (
        "server: link.example:9092; this client: south (north, south take part)",
        "rows: 2 for training, 0 left out; the rows stay here",
        f"sent per round: {len(state)} tensors with {numbers} numbers",
        "sent per round: the numbers num-examples, num-tokens, num-steps, train-loss,",
    ):
        assert line in caplog.text


def change_model(folder):
    config = folder / "model/config.json"
    config.write_text(config.read_text().replace("1024", "512"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "supernode.key").unlink(), "there is no .*supernode.key"),
        (lambda f: (f / "south.csv").unlink(), "there is nothing at .*south.csv"),
        (
            lambda f: shutil.rmtree(f / "model"),
            "the base model tiny is a folder of the server's, and there is no .*model",
        ),
        (change_model, "config.json of the base model tiny differ from the server's"),
        (
            lambda f: change_bundle(f, packages={"torch": "1.0"}),
            "trains with torch 1.0, and here is",
        ),
        (
            lambda f: change_bundle(f, version="9.1", more=1),
            rf"the server has blossomtune 9.1, and here is {__version__}.*"
            r"hint: pip install blossomtune-9.1-py3-none-any.whl",
        ),
        (
            lambda f: change_bundle(f, version="9 && rm"),
            "not an invitation of this version: version is '9 && rm'",
        ),
        (lambda f: change_bundle(f, more=1), "not an invitation of this version.*\n.*more"),
        (
            lambda f: (f / "south.csv").write_text("word,reply\na,b\n"),
            "paths.south has the columns word, reply, shout, but the data set has word, answer",
        ),
    ],
)
def test_problem_is_an_error_before_anything_runs(folder, damage, message):
    damage(folder)
    with pytest.raises(UserError, match=f"(?s){message}"):
        prepare_client(folder, folder / "south.csv", 1)
