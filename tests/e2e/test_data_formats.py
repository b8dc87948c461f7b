"""The workflow on conversations, plain text, and clients' own files."""

import gzip
import json
import random
import re
import shutil
import zipfile

import pyarrow as pa
import pytest
from checkout import copy_workflow
from pyarrow import parquet
from small_workflow import run_snakemake, write_config
from xlsx_files import write_xlsx

from blossomtune.config.experiments import ExperimentSettings
from blossomtune.modeling.encoding import IGNORE_INDEX
from blossomtune.modeling.tokenizer import load_tokenizer

COLOURS = {"sky": "blue", "grass": "green", "snow": "white", "coal": "black", "blood": "red"}


def generate_conversations(count, seed):
    """Yield rows with conversations of one to three questions."""
    rng = random.Random(seed)
    for i in range(count):
        turns = []
        for thing in rng.sample(sorted(COLOURS), rng.randint(1, 3)):
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
    "run": ["chat"],  # of the others, only EXTRA_TARGETS are built
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
        "prose": {"source": {"kind": "path", "path": "prose.*"}, "columns": ["text"]},
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


EXTRA_TARGETS = [
    "results/preprocessed/wards/plain/tiny",
    "results/preprocessed/halves/cut/tiny",
    "results/partitions/halves",
]


@pytest.fixture(scope="module")
def home(tiny_model, tmp_path_factory):
    """Return a copy of the workflow with data in several formats, after a run."""
    home = tmp_path_factory.mktemp("formats")
    copy_workflow(home)
    shutil.copytree(tiny_model, home / "tiny")
    write_config(home, CONFIG)

    def to_json_lines(count, seed, spell=str):
        rows = list(generate_conversations(count, seed))
        for turn in (turn for row in rows for turn in row["messages"]):
            turn["content"] = spell(turn["content"])
        return "".join(json.dumps(row) + "\n" for row in rows)

    with gzip.open(home / "first.jsonl.gz", "wt") as file:
        file.write(to_json_lines(40, 1))
    with zipfile.ZipFile(home / "second.zip", "w") as archive:
        duplicates = to_json_lines(5, 2, str.upper)
        archive.writestr("deep/second.jsonl", to_json_lines(30, 2) + duplicates)
    (home / "north.jsonl").write_text(to_json_lines(12, 3))
    south = pa.Table.from_pylist(list(generate_conversations(15, 4)))
    parquet.write_table(south, home / "south.parquet")
    sentences = [
        f"the {thing} is {colour}, said {i}" for i in range(8) for thing, colour in COLOURS.items()
    ]
    table = "text;n\n" + "".join(f'"{s} – für";1,5\n' for s in sentences[:20])
    (home / "prose.csv").write_bytes(table.encode("cp1252"))
    write_xlsx(home / "prose.xlsx", {"Data": [["text", "n"], *([s, "1"] for s in sentences[20:])]})
    run_snakemake(home, "all", *EXTRA_TARGETS)
    return home


def read_tokens(home, path):
    with pa.memory_map(str(home / "results/preprocessed" / path)) as file:
        return pa.ipc.open_stream(file).read_all().to_pylist()


def read_manifest(home, path):
    return json.loads((home / "results" / path / "manifest.json").read_text())


def check_loss_decreases(history):
    losses = [record["evaluation"]["loss"] for record in history["rounds"]]
    assert losses[-1] < losses[0]


def test_loss_decreases_on_packed_conversations(home):
    path = home / "results/experiments/chat/history.json"
    check_loss_decreases(json.loads(path.read_text()))


def test_loss_decreases_on_plain_text(home, train):
    results = home / "results"
    files = {
        "model": results / "models/tiny",
        "partition": results / "partitions/halves",
        "preprocessed": results / "preprocessed/halves/cut/tiny",
    }
    _, history = train(
        ExperimentSettings.model_validate(CONFIG["experiments"]["prose"]), files=files
    )
    check_loss_decreases(history)


def test_packed_sequences_are_what_the_chat_template_renders(home):
    tokenizer = load_tokenizer(home / "results/models/tiny")
    manifest = read_manifest(home, "preprocessed/by-topic/packed/tiny")
    assert manifest["shape"]["name"] == "messages"
    assert manifest["shape"]["detected"]
    unpacked = set()
    for client in manifest["clients"]:
        packs = read_tokens(home, f"by-topic/packed/tiny/client_{client['client']}.arrow")
        assert len(packs) == client["packed"] < client["rows"]
        for pack in packs:
            start = 0
            for length in pack["seq_lengths"]:
                unpacked.add(tokenizer.decode(pack["input_ids"][start : start + length]))
                start += length
    expected = set()
    for i in range(3):
        rows = parquet.read_table(home / f"results/partitions/by-topic/client_{i}.parquet")
        for row in rows.to_pylist():
            turns = [{"role": "system", "content": "Name the colour."}, *row["messages"]]
            text = tokenizer.apply_chat_template(turns, tokenize=False)
            expected.add(text.removesuffix("\n"))
    assert unpacked == expected


def test_preview_shows_what_is_learnt_and_is_no_part_of_the_report(home):
    output = run_snakemake(home, "preview")
    page = "results/preview/by-topic/packed/tiny.html"
    assert f"preview: {page}\n" in output
    text = (home / page).with_suffix(".txt").read_text()
    marked = re.findall("⟦(.+?)⟧", text)
    answers = {"│".join([*colour, "⟨<|im_end|>⟩"]) for colour in COLOURS.values()}
    assert len(marked) > 3 * 10  # three clients with ten conversations each
    assert set(marked) <= answers
    assert not (home / "results/report").joinpath("preview").exists()
    assert "Nothing to be done" in run_snakemake(home, "all")


def test_mixture_keeps_train_and_test_rows_of_its_members_apart(home):
    train, test = (
        parquet.read_table(home / f"results/datasets/chats/{n}.parquet").to_pylist()
        for n in ("train", "test")
    )
    assert (
        {row["source"] for row in train} == {row["source"] for row in test} == {"first", "second"}
    )
    test_messages = {json.dumps(row["messages"]) for row in test}
    train_messages = {json.dumps(row["messages"]) for row in train if row["source"] == "second"}
    assert not test_messages & train_messages
    assert read_manifest(home, "datasets/second")["rows"]["duplicates"] == 5


def test_rows_of_local_clients_are_not_pooled(home):
    clients = read_manifest(home, "partitions/wards")["clients"]
    assert [(c["name"], c["rows"]) for c in clients] == [("north", 12), ("south", 15)]
    assert parquet.read_table(home / "results/datasets/common/train.parquet").num_rows == 0


def test_last_turn_loss_covers_the_last_answer_only(home):
    tokenizer = load_tokenizer(home / "results/models/tiny")
    for row in read_tokens(home, "wards/plain/tiny/client_0.arrow"):
        answer = tokenizer.decode([label for label in row["labels"] if label != IGNORE_INDEX])
        assert answer.removesuffix("<|im_end|>") in COLOURS.values()


def test_files_of_spreadsheets_are_read_as_they_are(home):
    manifest = read_manifest(home, "datasets/prose")
    readings = [(r["format"], r["encoding"], r["delimiter"]) for r in manifest["readings"]]
    assert readings == [("csv", "cp1252", ";"), ("xlsx", None, None)]
    assert manifest["rows"]["read"] == 40
    rows = parquet.read_table(home / "results/datasets/prose/train.parquet").to_pylist()
    assert sum(row["text"].endswith(" – für") for row in rows) > 10


def test_truncated_texts_are_counted(home):
    for client in read_manifest(home, "preprocessed/halves/cut/tiny")["clients"]:
        path = f"results/partitions/halves/client_{client['client']}.parquet"
        texts = parquet.read_table(home / path)["text"].to_pylist()
        # each byte is a token, and so is the end of the text
        assert client["truncated"] == sum(len(text.encode()) + 1 > 24 for text in texts) > 0
        assert client["longest"] == 24


def test_report_names_the_row_format(home):
    page = (home / "results/report/index.html").read_text()
    assert "chat" in page
    assert "messages" in page
