"""What clients of engine ``external`` are sent, and what they make of it."""

import json
import shutil

import pyarrow as pa
import pytest

from blossomtune.config import stage_inputs
from blossomtune.config.load import load_configuration
from blossomtune.data import fetch_model
from blossomtune.data.partitioning import build_partition
from blossomtune.data.preparation import build_dataset
from blossomtune.data.tokenization import build_tokenized
from blossomtune.deployment.client_bundle import write_client_bundles
from blossomtune.deployment.client_setup import prepare_client
from blossomtune.errors import UserError
from blossomtune.federation.run import FederatedRun
from blossomtune.files import read_json, write_json

CLIENTS = {"north": ["good", "bad", "fine"], "south": ["dull", "nice"]}


def configuration(model, keys, cut):
    return load_configuration(
        {
            "seed": 5,
            "run": ["x"],
            "models": {"tiny": {"source": {"kind": "path", "path": str(model)}}},
            "datasets": {
                "words": {
                    "source": {"kind": "path", "path": str(keys.parent / "test.csv")},
                    "format": {"kind": "csv"},
                    "derive": {"shout": "{{ word | upper }}"},
                    "test": {"size": "all"},
                }
            },
            "partitions": {"p": {"dataset": "words", "partitioner": "local"} | cut},
            "preprocessing": {"t": {"prompt": "{{ shout }}?", "completion": "{{ answer }}"}},
            "experiments": {
                "x": {
                    "model": "tiny",
                    "partition": "p",
                    "preprocessing": "t",
                    "federation": {
                        "privacy": {"secret": "/etc/secret"},
                        "engine": {"name": "external", "host": "link.example", "keys": str(keys)}
                        if "clients" in cut
                        else "simulation",
                    },
                }
            },
        }
    )


@pytest.fixture(scope="module")
def world(tiny_model, tmp_path_factory):
    """The server's model and data set, rows of two clients, and what these were sent."""
    home = tmp_path_factory.mktemp("world")
    for name, words in {"test": ["so"], **CLIENTS}.items():
        lines = ["word,answer", *(f"{word},yes" for word in words)]
        (home / f"{name}.csv").write_text("\n".join(lines) + "\n")
    told = configuration(tiny_model, home / "keys", {"clients": list(CLIENTS)})
    for folder in ("tiny", "words"):
        (home / folder).mkdir()
    fetch_model.fetch_model(stage_inputs.fetch_model(told, "tiny"), home / "tiny")
    build_dataset.build_dataset(stage_inputs.download(told, "words"), home / "words")
    write_client_bundles(stage_inputs.invite(told, "x"), home / "tiny", home / "words", "x")
    return home


@pytest.fixture
def folder(world, tmp_path):
    """What south was sent, with the model and its rows beside it."""
    to = tmp_path / "south"
    shutil.copytree(world / "keys/invitations/x/south", to)
    shutil.copytree(world / "tiny", to / "model")
    shutil.copy(world / "south.csv", to)
    return to


def test_a_folder_has_what_a_client_needs_and_no_secret(world):
    sent = world / "keys/invitations/x"
    assert sorted(path.name for path in sent.iterdir()) == ["north", "south"]
    for name in CLIENTS:
        own = sent / name
        assert {path.name for path in own.iterdir()} == {
            "ca.crt",
            "invitation.json",
            "supernode.key",
        }
        assert (own / "supernode.key").stat().st_mode & 0o777 == 0o600
        key = world / f"keys/supernode_{name}.key"
        assert (own / "supernode.key").read_bytes() == key.read_bytes()
        assert (
            "secret"
            in (told := read_json(own / "invitation.json"))["federate"]["federation"]["privacy"]
        )
        assert "/etc/secret" not in json.dumps(told)


def test_a_client_makes_what_the_server_would_have_made(world, folder, tiny_model, tmp_path):
    """Token ids of its rows, to the byte, under the number that it has among all."""
    prepare_client(folder, folder / "south.csv", 1)
    made = read_json(folder / "work/supernode.json")
    assert made["name"] == "supernode_1"
    words = made["arguments"]
    assert words[words.index("--superlink") + 1] == "link.example:9092"
    paths = {name: str(world / f"{name}.csv") for name in CLIENTS}
    told = configuration(tiny_model, world / "keys", {"paths": paths})
    for name in ("rows", "tokens"):
        (tmp_path / name).mkdir()
    build_partition.build_partition(
        stage_inputs.partition(told, "p"), world / "words", tmp_path / "rows"
    )
    build_tokenized.tokenize_partition(
        stage_inputs.preprocess(told, "t"),
        world / "tiny",
        world / "words",
        tmp_path / "rows",
        tmp_path / "tokens",
    )
    mine = folder / "work/tokens"
    expected = (tmp_path / "tokens/client_1.arrow").read_bytes()
    assert (mine / "client_1.arrow").read_bytes() == expected
    assert sorted(path.name for path in mine.iterdir()) == ["client_1.arrow", "manifest.json"]
    with pa.ipc.open_stream(str(mine / "client_1.arrow")) as stream:
        assert stream.read_all().num_rows == len(CLIENTS["south"])
    run = FederatedRun.load(folder / "work/run.json")
    assert [(c.name, c.num_rows) for c in run.spec.clients] == [("north", 0), ("south", 2)]
    prepare_client(folder, folder / "south.csv", 1)  # as after an interruption


def change(folder, **values):
    file = folder / "invitation.json"
    write_json(file, read_json(file) | values)


def another_model(folder):
    config = folder / "model/config.json"
    config.write_text(config.read_text().replace("1024", "512"))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "supernode.key").unlink(), "there is no .*supernode.key"),
        (lambda f: (f / "south.csv").unlink(), "there is nothing at .*south.csv"),
        (
            lambda f: shutil.rmtree(f / "model"),
            "the base model tiny is a folder of the server's, and there is no .*model",
        ),
        (another_model, "config.json of the base model tiny differ from the server's"),
        (lambda f: change(f, packages={"torch": "1.0"}), "trains with torch 1.0, and here is"),
        (lambda f: change(f, more=1), "not an invitation of this version.*\n.*more"),
        (
            lambda f: (f / "south.csv").write_text("word,reply\na,b\n"),
            "paths.south has the columns word, reply, shout, but the data set has word, answer",
        ),
    ],
)
def test_what_is_wrong_is_told_before_anything_runs(folder, spoil, said):
    spoil(folder)
    with pytest.raises(UserError, match=f"(?s){said}"):
        prepare_client(folder, folder / "south.csv", 1)
