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
from blossomtune.federation.run import FederatedRun
from blossomtune.files import read_json, write_json


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
