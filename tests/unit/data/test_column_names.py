"""Tests of columns with unusual names from the file to the evaluation set."""

import csv
import json
from itertools import cycle

import pyarrow as pa
import pytest
from pyarrow import parquet
from pydantic import TypeAdapter

from blossomtune.config.datasets import DatasetSettings
from blossomtune.config.partitions import AnyPartition
from blossomtune.config.preprocessing import PreprocessingSettings
from blossomtune.data.partitioning.build_partition import build_partition
from blossomtune.data.preparation.build_dataset import build_dataset
from blossomtune.data.template_columns import format_row_access
from blossomtune.data.tokenization.build_tokenized import tokenize_partition
from blossomtune.errors import UserError
from blossomtune.evaluation.rows import load_evaluation_set

NAMES = [
    *("Question text", "data.value", "data.", ".x", "2nd", "[0]", "a[0].b", "class", "items"),
    *('say "hi"', "it's", "a`b", "a\nb", "tab\t", "back\\slash", "{{ x }}", "{% if %}", "# x"),
    *("größe €", "質問", "e\u0301", "🙂", "row", "true", "range", "self", "source", "file", " "),
]


def write_rows(path, rows):
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    else:
        parquet.write_table(pa.Table.from_pylist(rows), path)


def run_chain(tmp_path, model, dataset, partition, preprocessing):
    """Prepare, partition and tokenize rows; return the folders and the partition's manifest."""
    folders = [tmp_path / name for name in ("dataset", "partition", "tokens")]
    for folder in folders:
        folder.mkdir()
    dataset = DatasetSettings.model_validate(dataset).model_dump(mode="json") | {"seed": 1}
    build_dataset(dataset, folders[0])
    settings = {"dataset": "d", "num_partitions": 2} | partition
    settings = TypeAdapter(AnyPartition).validate_python(settings)
    manifest = build_partition(settings.model_dump(mode="json") | {"seed": 1}, *folders[:2])
    settings = PreprocessingSettings.model_validate(preprocessing).model_dump(mode="json")
    tokenize_partition(settings, model, *folders)
    return (*folders, manifest)


@pytest.mark.parametrize(
    ("name", "suffix"), zip(NAMES, cycle([".jsonl", ".csv", ".parquet"]), strict=False)
)
def test_column_of_any_name_passes_every_stage(tiny_model, tmp_path, name, suffix):
    rows = [
        {f"old {name}": ("yes", "no")[i % 2], name + "?": f"thing {i}", "data": i}
        for i in range(24)
    ]
    if suffix != ".csv":
        rows = [row | {"data": {"value": 1}} for row in rows]
    write_rows(tmp_path / f"rows{suffix}", rows)
    access, question = format_row_access(name), format_row_access(name + "?")
    dataset, partition, tokens, manifest = run_chain(
        tmp_path,
        tiny_model,
        dataset={
            "source": {"kind": "path", "path": str(tmp_path / f"rows{suffix}")},
            "rename": {f"old {name}": name},
            "derive": {name + "!": f"{{{{ {access} }}}}, {{{{ {question} }}}}!"},
            "filter": f"{access} in ['yes', 'no'] and not {question} == 'thing 3'",
            "columns": [name, name + "?", name + "!", "data"],
            "deduplicate_by": [name + "!"],
            "test": {"size": 5, "stratify_by": name},
        },
        partition={"partitioner": "natural_id", "column": name, "label_column": name},
        preprocessing={"prompt": f"{{{{ {question} }}}}?", "completion": f"{{{{ {access} }}}}"},
    )
    assert manifest.labels == {"yes": 9, "no": 9}
    assert manifest.client_names == ["no", "yes"]
    test = parquet.read_table(dataset / "test.parquet").to_pylist()
    assert all(row[name + "!"] == f"{row[name]}, {row[name + '?']}!" for row in test)
    settings = {"choices": ["yes", "no"], "by": name, "seed": 1, "server_eval_rows": 0}
    evaluation_set = load_evaluation_set(tokens, partition, dataset, settings)
    assert len(evaluation_set.rows) == 5
    for row, source in zip(evaluation_set.rows, test, strict=True):
        assert source[name + "?"] + "?" in row.prompt
        assert row.completion == row.group == source[name]


@pytest.mark.parametrize("name", ["data.value", 'a "b"', "a\nb", "質問", "row"])
def test_conversations_in_a_column_of_any_name_are_read(tiny_model, tmp_path, name):
    rows = [
        {
            name: [{"role": "user", "content": "q"}, {"role": "assistant", "content": f"a{i}"}],
            "data": {"value": 1},
        }
        for i in range(8)
    ]
    write_rows(tmp_path / "rows.jsonl", rows)
    *_, tokens, _ = run_chain(
        tmp_path,
        tiny_model,
        {"source": {"kind": "path", "path": str(tmp_path / "rows.jsonl")}, "test": {"size": 2}},
        {"partitioner": "iid"},
        {"shape": "messages", "column": name},
    )
    with pa.memory_map(str(tokens / "test.arrow")) as file:
        test = pa.ipc.open_stream(file).read_all().to_pylist()
    assert {row["completion"][0] for row in test} == {"a"}


@pytest.mark.parametrize("other", [{"chat": 1}, 7])
def test_unread_conversation_in_a_column_with_a_dot_is_found(tiny_model, tmp_path, other):
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    rows = [{"data": other, "data.chat": turns, "q": f"q{i}", "a": "yes"} for i in range(8)]
    write_rows(tmp_path / "rows.jsonl", rows)
    dataset = {"source": {"kind": "path", "path": str(tmp_path / "rows.jsonl")}}
    preprocessing = {"prompt": "{{ q }}", "completion": "{{ a }}"}
    with pytest.raises(UserError) as error:
        run_chain(tmp_path, tiny_model, dataset, {"partitioner": "iid"}, preprocessing)
    message = str(error.value)
    assert message.startswith("column 'data.chat' looks like training content")
    assert """prompt: '{{ row["data.chat"] }}'""" in message
