"""Tests of data sets loaded over HTTP from a hub on the loopback address."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import huggingface_hub
import pyarrow as pa
import pytest
from local_hub import COMMIT, LocalHub
from pyarrow import parquet

import blossomtune
from blossomtune.data.sources import huggingface_datasets, load_source
from blossomtune.errors import UserError

LIBRARY = Path(blossomtune.__file__).parents[1]
README = b"""---
license: apache-2.0
configs:
- config_name: cats
  default: true
  data_files:
  - {split: train, path: cats/train*}
  - {split: test, path: cats/test.jsonl}
- config_name: dogs
  data_files: dogs/*.jsonl
---
# Pets
"""
SOURCE = {
    "kind": "hub",
    "repo": "owner/pets",
    "revision": "v1",
    "subset": None,
    "split": "train",
    "rows": None,
}


def encode_jsonl(rows) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def encode_parquet(rows, row_group_size=None) -> bytes:
    content = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), content, row_group_size=row_group_size)
    return content.getvalue()


def build_pets() -> dict[str, bytes]:
    return {
        "README.md": README,
        "cats/train-0.jsonl": encode_jsonl({"text": f"cat {i}", "n": i} for i in range(3)),
        "cats/train-1.jsonl": encode_jsonl({"text": f"cat {i}", "n": i} for i in range(3, 5)),
        "cats/test.jsonl": encode_jsonl([{"text": "a test cat", "n": 9}]),
        "dogs/a.jsonl": encode_jsonl([{"text": "dog", "barks": True}]),
    }


@pytest.fixture
def serve(monkeypatch):
    hubs = []

    def start(files):
        hub = LocalHub("datasets", "owner/pets", files)
        hubs.append(hub)
        # the clients read HF_ENDPOINT at import; this is the same setting
        constants = huggingface_hub.constants
        template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(datasets.config, "HF_ENDPOINT", hub.url)
        return hub

    yield start
    for hub in hubs:
        hub.stop()


def load_rows(tmp_path, **changes):
    batches, commit, licence = huggingface_datasets.load_split(SOURCE | changes, tmp_path)
    assert (commit, licence) == (COMMIT, "apache-2.0")
    return [row for batch in batches for row in batch.to_pylist()]


def test_only_the_requested_split_is_downloaded(serve, tmp_path):
    hub = serve(build_pets())
    assert load_rows(tmp_path) == [{"text": f"cat {i}", "n": i} for i in range(5)]
    assert {name for name in hub.bytes_sent if "/" in name} == {
        "cats/train-0.jsonl",
        "cats/train-1.jsonl",
    }
    assert load_rows(tmp_path / "2", split="test") == [{"text": "a test cat", "n": 9}]
    assert [row["n"] for row in load_rows(tmp_path / "3", split="train[1:3]+test")] == [1, 2, 9]
    assert [row["n"] for row in load_rows(tmp_path / "4", rows=10**6)] == [0, 1, 2, 3, 4]


def test_subset_is_defined_by_the_dataset_card(serve, tmp_path):
    serve(build_pets())
    assert load_rows(tmp_path, subset="dogs") == [{"text": "dog", "barks": True}]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_first_rows_are_streamed_without_the_rest(serve, tmp_path, kind):
    noise = os.urandom(1 << 20).hex()
    all_rows = [{"n": i, "text": noise[i * 7 : i * 7 + 40_000]} for i in range(3000)]
    content = (
        encode_jsonl(all_rows) if kind == "jsonl" else encode_parquet(all_rows, row_group_size=50)
    )
    assert len(content) > 110e6
    hub = serve({f"data/train.{kind}": content, f"data/test.{kind}": b"never asked for"})
    assert load_rows(tmp_path, rows=70) == all_rows[:70]
    assert sum(hub.bytes_sent.values()) < 40e6  # what `datasets` reads at once, whatever there is
    assert f"data/test.{kind}" not in hub.bytes_sent


@pytest.mark.parametrize("number", [None, 10**6])
def test_dictionary_columns_of_parquet_files_become_text(serve, tmp_path, number):
    text = pa.array(["a", None, "b"]).dictionary_encode()
    content = io.BytesIO()
    parquet.write_table(pa.table({"text": text}), content)
    serve({"train.parquet": content.getvalue()})
    batches, _, _ = huggingface_datasets.load_split(SOURCE | {"rows": number}, tmp_path)
    assert pa.Table.from_batches(batches).to_pydict() == {"text": ["a", None, "b"]}


def test_files_are_written_below_scratch_only(serve, tmp_path):
    hub = serve(build_pets())
    program = (
        "import sys; from pathlib import Path\n"
        "from blossomtune.data.sources.load_source import load_source\n"
        f"for n, rows in enumerate((None, 2)):\n"
        f"    source = {SOURCE!r} | {{'rows': rows}}\n"
        "    loaded = load_source(source, None, Path(sys.argv[1]) / str(n))\n"
        "    print(sum(batch.num_rows for _, batch in loaded.file_batches), loaded.revision)\n"
    )
    scratch, home = tmp_path / "scratch", tmp_path / "home"
    home.mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "XDG_"))}
    environment |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_secret", "HOME": str(home)}
    environment |= {"PYTHONPATH": str(LIBRARY), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", program, scratch]
    done = subprocess.run(
        command, check=True, timeout=120, env=environment, capture_output=True, text=True
    )
    printed = [line for line in done.stdout.splitlines() if not line.startswith("fetching")]
    assert printed == [f"5 {COMMIT}", f"2 {COMMIT}"]
    assert [str(p) for p in home.rglob("*") if p.is_file()] == []
    tokens = {token for path, token in hub.requests if "/datasets/" in path}
    assert tokens == {"Bearer hf_secret"}
    assert not any("hf_secret" in p.read_text("latin-1") for p in scratch.rglob("*") if p.is_file())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "tset"}, "source.split: owner/pets has no split 'tset'; did you mean 'test'? "
         "splits: train, test"),
        ({"subset": "dgos"}, "source.subset: there is no 'dgos'; did you mean 'dogs'? subsets of "
         "owner/pets: cats, dogs"),
        ({"split": "train[:5]", "rows": 3}, "source.rows: 'train[:5]' cannot be streamed; name one "
         "whole split"),
    ],
)  # fmt: skip
def test_missing_split_or_subset_lists_the_available_ones(serve, tmp_path, changes, message):
    serve(build_pets())
    with pytest.raises(UserError) as error:
        load_rows(tmp_path, **changes)
    assert str(error.value) == message


def test_missing_subset_key_lists_the_subsets(serve, tmp_path):
    serve(build_pets() | {"README.md": README.replace(b"  default: true\n", b"")})
    with pytest.raises(UserError) as error:
        load_rows(tmp_path)
    assert str(error.value) == "source.subset: missing; subsets of owner/pets: cats, dogs"


@pytest.mark.parametrize(
    ("refusal", "refused", "message"),
    [
        (
            (403, "GatedRepo"),
            "/resolve/",
            r"owner/pets is gated(.|\n)*terms at .*/datasets/owner/pets",
        ),
        ((404, "RevisionNotFound"), "", r"source\.revision: owner/pets has no revision 'v1'"),
        ((404, "RepoNotFound"), "", r"source\.repo: the hub shows no 'owner/pets'"),
        ((503, ""), "/api/", r"cannot be reached \(HTTP status 503, 3 attempts\)"),
    ],
)
@pytest.mark.parametrize("number", [None, 2])
def test_refused_request_is_explained(serve, tmp_path, refusal, refused, message, number):
    hub = serve(build_pets())
    hub.refusal, hub.refused = refusal, refused
    with pytest.raises(UserError, match=message):
        load_rows(tmp_path, rows=number)


def test_dataset_script_is_not_executed(serve, tmp_path):
    serve(build_pets() | {"pets.py": b"raise SystemExit"})
    with pytest.raises(UserError, match=r"owner/pets is a script(.|\n)*refs/convert/parquet"):
        load_rows(tmp_path)


@pytest.mark.parametrize("number", [None, 2])
def test_damaged_files_are_rejected(serve, tmp_path, number):
    serve({"data/train.parquet": b"PAR1 and then something else"})
    with pytest.raises(UserError, match="owner/pets cannot be read: "):
        load_rows(tmp_path, rows=number)


def test_repository_without_data_is_rejected(serve, tmp_path):
    serve({"README.md": b"# Nothing"})
    with pytest.raises(UserError, match=r"owner/pets cannot be read: .*any data files"):
        load_rows(tmp_path)


CLASS_CARD = b"""---
license: apache-2.0
dataset_info:
  features:
  - {name: text, dtype: string}
  - name: label
    dtype:
      class_label:
        names:
          '0': negative
          '1': positive
---
"""


def encode_dataset(rows) -> bytes:
    content = io.BytesIO()
    label = datasets.ClassLabel(names=["negative", "positive"])
    features = datasets.Features({"text": datasets.Value("string"), "label": label})
    datasets.Dataset.from_list(rows, features).to_parquet(content)
    return content.getvalue()


@pytest.mark.parametrize("number", [None, 10**6])
@pytest.mark.parametrize("kind", ["metadata", "parquet card", "jsonl card", "names in jsonl"])
def test_class_numbers_become_the_names_of_file_or_card(serve, tmp_path, number, kind):
    rows = [{"text": "a", "label": 1}, {"text": "b", "label": 0}, {"text": "c", "label": -1}]
    named = [row | {"label": ("negative", "positive", None)[row["label"]]} for row in rows]
    files = {
        "metadata": {"train.parquet": encode_dataset(rows)},
        "parquet card": {"train.parquet": encode_parquet(rows), "README.md": CLASS_CARD},
        "jsonl card": {"train.jsonl": encode_jsonl(rows), "README.md": CLASS_CARD},
        "names in jsonl": {"train.jsonl": encode_jsonl(named), "README.md": CLASS_CARD},
    }[kind]
    serve(files)
    for use_names, expected in ((True, named), (False, rows)):
        loaded = load_source.load_source(
            SOURCE | {"rows": number}, None, tmp_path / str(use_names), use_class_names=use_names
        )
        read = [row for _, batch in loaded.file_batches for row in batch.to_pylist()]
        if kind == "names in jsonl":  # which have null where the numbers have -1
            expected = [*expected[:2], {"text": "c", "label": None}]
        assert read == expected
        assert loaded.class_names == {("label", ""): ["negative", "positive"]}


def test_batches_are_named_by_the_repository(serve, tmp_path):
    serve(build_pets())
    loaded = load_source.load_source(SOURCE, None, tmp_path)
    assert {name for name, _ in loaded.file_batches} == {"owner/pets"}
