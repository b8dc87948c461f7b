"""Chats from file to report, plain text to an adapter, shards that lie elsewhere to tokens."""

import gzip
import json
import random
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from pyarrow import parquet

from blossomtune.modeling.encoding import IGNORE_INDEX
from blossomtune.modeling.tokenizer import load_tokenizer

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("Snakefile", "rules", "profiles", "workflow_scripts", "envs")
COLOURS = {"sky": "blue", "grass": "green", "snow": "white", "coal": "black", "blood": "red"}


def chats(count, seed):
    """Conversations of one to three questions."""
    chance = random.Random(seed)
    for i in range(count):
        turns = []
        for thing in chance.sample(sorted(COLOURS), chance.randint(1, 3)):
            turns.append({"role": "user", "content": f"{thing} {i}?"})
            turns.append({"role": "assistant", "content": COLOURS[thing]})
        yield {"messages": turns, "topic": turns[-1]["content"]}


EXPERIMENT = {
    "model": "tiny",
    "lora": {"r": 4},
    "training": {
        "learning_rate_max": 2e-2,
        "arguments": {"per_device_train_batch_size": 4, "max_steps": 6},
    },
    "federation": {"rounds": 2, "evaluate_rows": 8},
    "evaluation": {"generation": {"rows": 2, "max_new_tokens": 3}},
}
CONFIG = {
    "run": ["chat"],  # of the others, no more than is looked at
    "models": {"tiny": {"source": {"kind": "path", "path": "tiny"}}},
    "datasets": {
        "first": {"source": {"kind": "path", "path": "first.jsonl.gz"}, "test": {"size": 6}},
        "second": {
            "source": {"kind": "path", "path": "second.zip", "files": "*.jsonl"},
            "deduplicate_by": ["messages"],
            "deduplicate_as": "normalised",
            "test": {"size": 6},
        },
        "chats": {
            "source": {
                "kind": "mixture",
                "datasets": ["first", "second"],
                "weights": [2, 1],
                "until": "all_exhausted",
            },
            "filter": "messages | length < 6",
        },
        "common": {"source": {"kind": "path", "path": "first.jsonl.gz"}, "test": {"size": "all"}},
        "prose": {"source": {"kind": "path", "path": "prose.csv"}, "columns": ["text"]},
    },
    "partitions": {
        "by-topic": {
            "dataset": "chats",
            "partitioner": "dirichlet",
            "column": "topic",
            "alpha": 1.0,
            "num_partitions": 3,
            "min_rows": 4,
            "validation_size": 1,
        },
        "wards": {
            "dataset": "common",
            "partitioner": "local",
            "paths": {"north": "north.jsonl", "south": "south.parquet"},
        },
        "halves": {"dataset": "prose", "partitioner": "iid", "num_partitions": 2},
    },
    "preprocessing": {
        "packed": {"packing": True, "max_length": 256, "system": "Name the colour."},
        "plain": {"loss": "last_turn", "max_length": 200},
        "cut": {"max_length": 24, "too_long": "truncate"},
    },
    "experiments": {
        "chat": EXPERIMENT | {"partition": "by-topic", "preprocessing": "packed"},
        "wards": EXPERIMENT | {"partition": "wards", "preprocessing": "plain"},
        "prose": EXPERIMENT | {"partition": "halves", "preprocessing": "cut"},
    },
}


OTHERS = ["results/preprocessed/wards/plain/tiny", "results/experiments/prose/history.json"]


@pytest.fixture(scope="module")
def home(tiny_model, tmp_path_factory):
    """A copy of the workflow, with data in several forms; everything is built."""
    home = tmp_path_factory.mktemp("any") / "workflow"
    home.mkdir()
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
        copy(ROOT / part, home / part)
    shutil.copytree(tiny_model, home / "tiny")
    (home / "config").mkdir()
    (home / "config/config.yaml").write_text(yaml.safe_dump(CONFIG))

    def lines(count, seed, spell=str):
        rows = list(chats(count, seed))
        for turn in (turn for row in rows for turn in row["messages"]):
            turn["content"] = spell(turn["content"])
        return "".join(json.dumps(row) + "\n" for row in rows)

    with gzip.open(home / "first.jsonl.gz", "wt") as file:
        file.write(lines(40, 1))
    with zipfile.ZipFile(home / "second.zip", "w") as archive:
        archive.writestr("deep/second.jsonl", lines(30, 2) + lines(5, 2, str.upper))
    (home / "north.jsonl").write_text(lines(12, 3))
    parquet.write_table(pa.Table.from_pylist(list(chats(15, 4))), home / "south.parquet")
    words = [
        f"the {thing} is {colour}, said {i}" for i in range(8) for thing, colour in COLOURS.items()
    ]
    (home / "prose.csv").write_text("text,n\n" + "".join(f'"{w}",1\n' for w in words))
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", "all", *OTHERS],
        cwd=home,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return home


def tokens(home, path):
    with pa.memory_map(str(home / "results/preprocessed" / path)) as file:
        return pa.ipc.open_stream(file).read_all().to_pylist()


def manifest(home, path):
    return json.loads((home / "results" / path / "manifest.json").read_text())


def test_packed_chats_and_plain_text_are_learnt(home):
    for name in ("chat", "prose"):
        history = json.loads((home / f"results/experiments/{name}/history.json").read_text())
        losses = [r["evaluation"]["loss"] for r in history["rounds"]]
        assert losses[-1] < losses[0], name


def test_packed_conversations_are_what_the_chat_template_writes(home):
    tokenizer = load_tokenizer(home / "results/models/tiny")
    told = manifest(home, "preprocessed/by-topic/packed/tiny")
    assert told["shape"]["name"] == "messages"
    assert told["shape"]["detected"]
    found = set()
    for client in told["clients"]:
        packs = tokens(home, f"by-topic/packed/tiny/client_{client['client']}.arrow")
        assert len(packs) == client["packed"] < client["rows"]
        for pack in packs:
            start = 0
            for length in pack["seq_lengths"]:
                found.add(tokenizer.decode(pack["input_ids"][start : start + length]))
                start += length
    wanted = set()
    for i in range(3):
        part = home / f"results/partitions/by-topic/client_{i}.parquet"
        for row in parquet.read_table(part).to_pylist():
            turns = [{"role": "system", "content": "Name the colour."}, *row["messages"]]
            text = tokenizer.apply_chat_template(turns, tokenize=False)
            wanted.add(text.removesuffix("\n"))
    assert found == wanted


def test_a_mixture_keeps_its_parts_apart_for_the_test(home):
    train, test = (
        parquet.read_table(home / f"results/datasets/chats/{n}.parquet").to_pylist()
        for n in ("train", "test")
    )
    assert (
        {row["source"] for row in train} == {row["source"] for row in test} == {"first", "second"}
    )
    held = {json.dumps(row["messages"]) for row in test}
    assert not held & {json.dumps(row["messages"]) for row in train if row["source"] == "second"}
    assert manifest(home, "datasets/second")["rows"]["duplicates"] == 5


def test_shards_are_not_pooled(home):
    told = manifest(home, "partitions/wards")
    assert [(c["name"], c["rows"]) for c in told["clients"]] == [("north", 12), ("south", 15)]
    assert parquet.read_table(home / "results/datasets/common/train.parquet").num_rows == 0


def test_the_loss_is_on_the_last_answer_where_that_is_said(home):
    tokenizer = load_tokenizer(home / "results/models/tiny")
    for row in tokens(home, "wards/plain/tiny/client_0.arrow"):
        answer = tokenizer.decode([label for label in row["labels"] if label != IGNORE_INDEX])
        assert answer.removesuffix("<|im_end|>") in COLOURS.values()


def test_text_that_is_cut_is_counted(home):
    told = manifest(home, "preprocessed/halves/cut/tiny")
    for client in told["clients"]:
        path = f"results/partitions/halves/client_{client['client']}.parquet"
        texts = parquet.read_table(home / path)["text"].to_pylist()
        # bytes are tokens here, and the end is one more
        assert client["truncated"] == sum(len(text) + 1 > 24 for text in texts) > 0
        assert client["longest"] == 24


def test_the_report_tells_what_the_rows_are(home):
    page = (home / "results/report/index.html").read_text()
    assert "chat" in page
    assert "messages" in page
