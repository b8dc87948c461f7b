"""Tests of tokenized files and their manifest."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import datasets
import pyarrow as pa
import pytest
from artifact_samples import partition_manifest
from endless_templates import NESTED_LOOPS
from pyarrow import parquet
from tiny_architectures import build_text_model, save_model

import blossomtune
from blossomtune import work_limits
from blossomtune.artifacts.checksums import write_checksums
from blossomtune.artifacts.files import write_artifact
from blossomtune.config.preprocessing import PreprocessingSettings
from blossomtune.data.sources.file_formats import write_parquet
from blossomtune.data.tokenization import build_tokenized
from blossomtune.errors import UserError
from blossomtune.files import compute_file_sha256, read_json, to_canonical_json, write_json
from blossomtune.modeling.encoding import IGNORE_INDEX
from blossomtune.modeling.tokenizer import load_tokenizer

SCRIPT = Path(blossomtune.__file__).parents[1] / "preprocess.py"
ROWS = [{"text": f"text {i}", "label": "good" if i % 2 else "bad"} for i in range(6)]


def write_rows(rows, path):
    table = pa.Table.from_pylist(rows) if isinstance(rows, list) else rows
    write_parquet(table.to_batches(), table.schema, path)


@pytest.fixture
def inputs(tmp_path):
    """Write rows of two clients and a test split; return data set and partition."""
    dataset, partition = tmp_path / "dataset", tmp_path / "partition"
    dataset.mkdir()
    partition.mkdir()
    write_rows(ROWS[:3], partition / "client_0.parquet")
    write_rows(ROWS[3:5], partition / "client_1.parquet")
    write_rows(ROWS[5:], dataset / "test.parquet")
    write_artifact(partition / "manifest.json", partition_manifest(["a", "b"]))
    return dataset, partition


def make_config(**changes):
    config = {"prompt": "Grade: {{ text }}", "completion": "{{ label }}", **changes}
    config = {key: value for key, value in config.items() if value is not None}
    return PreprocessingSettings.model_validate(config).model_dump(mode="json")


def build(config, model, inputs, out, cores=1):
    out.mkdir()
    manifest = build_tokenized.tokenize_partition(config, model, *inputs, out, cores)
    return manifest.model_dump()


def make_command(config, model, inputs, out, cores):
    for folder in inputs:
        write_checksums(folder, folder.name)
    command = [sys.executable, SCRIPT, "--config", to_canonical_json(config), "--model", model]
    command += ["--dataset", inputs[0], "--partition", inputs[1], "--output", out]
    return [*map(str, command), "--cores", str(cores)]


def test_packing_is_refused_for_models_that_mix_rows(tiny_model, inputs, tmp_path):
    model = save_model(build_text_model("qwen3_5"), tmp_path / "model", tiny_model)
    with pytest.raises(UserError, match=r"packing: Qwen3_5ForCausalLM .* mix tokens"):
        build(make_config(packing=True), model, inputs, tmp_path / "packed")
    assert list((tmp_path / "packed").iterdir()) == []
    manifest = build(make_config(), model, inputs, tmp_path / "plain")
    assert manifest["clients"][0]["rows"] == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": "{% if text == 'text 4' %}LOOPS{% endif %}{{ text }}"}, "prompt takes more"),
        ({"completion": "{{ label * (10 ** 10 if text == 'text 4' else 1) }}"}, "completion needs"),
    ],
    ids=["loops", "memory"],
)
def test_row_whose_template_does_not_end_is_named(
    tiny_model, inputs, tmp_path, monkeypatch, changes, message
):
    monkeypatch.setattr(work_limits, "CPU_SECONDS", 0.3)
    changes = {key: source.replace("LOOPS", NESTED_LOOPS) for key, source in changes.items()}
    with pytest.raises(UserError, match=rf"^client_1\.parquet: row 1: {message}"):
        build(make_config(unrenderable="drop", **changes), tiny_model, inputs, tmp_path / "out")


def test_chat_template_that_does_not_end_is_ended(tiny_model, inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(work_limits, "CPU_SECONDS", 0.3)
    model = shutil.copytree(tiny_model, tmp_path / "model")
    template = load_tokenizer(model).get_chat_template()
    for condition, place in (("true", ""), ("'text 1' in messages[0].content", "row 1: ")):
        loops = f"{{% if {condition} %}}{NESTED_LOOPS}{{% endif %}}"
        (model / "chat_template.jinja").write_text(loops + template)
        with pytest.raises(UserError, match=rf"^.*{place}the model's chat template takes more"):
            build(make_config(), model, inputs, tmp_path / condition[:4])


def test_token_without_an_embedding_is_rejected(tiny_model, inputs, tmp_path):
    model = shutil.copytree(tiny_model, tmp_path / "model")
    tokenizer = load_tokenizer(model)
    tokenizer.add_tokens(["text"])
    tokenizer.save_pretrained(model)
    with pytest.raises(UserError, match="the token 'text' with the id 259"):
        build(make_config(), model, inputs, tmp_path / "out")


@pytest.mark.parametrize("key", ["prompt", "completion", "system", "text"])
def test_template_that_uses_class_names_as_numbers_is_rejected(tiny_model, inputs, tmp_path, key):
    labels = [{"column": "label", "field": "", "names": ["bad", "good"], "used": "names"}]
    manifest = partition_manifest(["a", "b"], class_labels=labels)
    write_artifact(inputs[1] / "manifest.json", manifest)
    text_only = dict.fromkeys(("prompt", "completion")) if key == "text" else {}
    config = make_config(**text_only | {key: "{{ text }} {{ 'good' if label == 1 else 'bad' }}"})
    with pytest.raises(UserError, match=rf"^{key}: column 'label' has class names \(bad, good\)"):
        build(config, tiny_model, inputs, tmp_path / "out")
    build(
        make_config(**text_only | {key: "{{ text }} {{ label }}"}),
        tiny_model,
        inputs,
        tmp_path / "named",
    )


def test_files_and_manifest_contain_tokens_labels_and_texts(tiny_model, inputs, tmp_path):
    manifest = build(make_config(), tiny_model, inputs, tmp_path / "out")
    tokenizer = load_tokenizer(tiny_model)
    client = datasets.Dataset.from_file(str(tmp_path / "out" / "client_1.arrow"))
    assert client.column_names == ["row", "input_ids", "labels"]
    assert client["row"] == [0, 1]
    prompt = "<|im_start|>user\nGrade: text 3<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(client[0]["input_ids"]) == f"{prompt}good<|im_end|>"
    answer = [label for label in client[0]["labels"] if label != IGNORE_INDEX]
    assert tokenizer.decode(answer) == "good<|im_end|>"

    test = datasets.Dataset.from_file(str(tmp_path / "out" / "test.arrow"))
    assert test[0]["prompt"] == prompt.replace("3", "5")
    assert test[0]["completion"] == "good"
    tokens = [len(ids) for ids in client["input_ids"]]
    assert manifest["clients"][1] == {
        "client": 1,
        "rows": 2,
        "dropped": {"too_long": 0, "unrenderable": 0, "leaks": 0},
        "truncated": 0,
        "packed": None,
        "tokens": sum(tokens),
        "completion_tokens": len("good") + len("bad") + 2,
        "longest": max(tokens),
        "sha256": compute_file_sha256(tmp_path / "out" / "client_1.arrow"),
    }
    assert {k: v for k, v in manifest.items() if k not in ("clients", "test", "leaks")} == {
        "shape": {
            "name": "prompt_completion",
            "detected": False,
            "columns": {},
            "templates": {"prompt": "Grade: {{ text }}", "completion": "{{ label }}"},
        },
        "column_use": {
            "columns": ["text", "label"],
            "ignored_columns": [],
            "turn_fields": [],
            "ignored_turn_fields": [],
        },
        "chat_template": {
            "arguments": {},
            "control_tokens": "error",
            "answer_prefix": "",
            "unseen_prompt_end": "",
            "end_of_turn": "<|im_end|>",
            "warnings": [],
        },
        "max_length": 512,
        "packing": False,
        "held_out": [],
        "schema_version": 1,
    }
    assert read_json(tmp_path / "out" / "manifest.json") == manifest


def test_system_message_is_rendered_by_a_template(tiny_model, inputs, tmp_path):
    build(make_config(system="Be {{ label }}."), tiny_model, inputs, tmp_path / "out")
    test = datasets.Dataset.from_file(str(tmp_path / "out" / "test.arrow"))
    assert test[0]["prompt"].startswith("<|im_start|>system\nBe good.<|im_end|>\n<|im_start|>user")


def test_held_out_rows_of_clients_are_tokenized(tiny_model, inputs, tmp_path):
    write_rows(ROWS[:2], inputs[1] / "client_1.validation.parquet")
    write_rows(ROWS[:1], inputs[1] / "client_1.test.parquet")
    manifest = build(make_config(packing=True), tiny_model, inputs, tmp_path / "out")
    (held_out,) = manifest["held_out"]
    assert held_out["client"] == 1
    assert (held_out["validation"]["rows"], held_out["test"]["rows"]) == (2, 1)
    assert held_out["test"]["sha256"] == compute_file_sha256(
        tmp_path / "out" / "client_1.test.arrow"
    )
    validation = datasets.Dataset.from_file(str(tmp_path / "out" / "client_1.validation.arrow"))
    assert validation.column_names == [
        "row",
        "input_ids",
        "labels",
        "prompt",
        "completion",
        "references",
        "question",
        "tool_calls",
    ]
    assert validation["completion"] == ["bad", "good"]
    packed = datasets.Dataset.from_file(str(tmp_path / "out" / "client_1.arrow"))
    assert packed.column_names == ["input_ids", "labels", "seq_lengths"]
    assert manifest["clients"][1]["rows"] == 2
    assert manifest["clients"][1]["packed"] == packed.num_rows == 1
    assert manifest["test"]["packed"] is None


@pytest.mark.parametrize("packing", [False, True])
def test_bytes_do_not_depend_on_the_number_of_cores(tiny_model, inputs, tmp_path, packing):
    many = [{"text": "x" * (7 * i % 90), "label": "good"} for i in range(1200)]
    table = pa.Table.from_pylist(many)
    parquet.write_table(table, inputs[1] / "client_0.parquet", row_group_size=150)
    config = make_config(packing=packing, max_length=120, too_long="drop")
    build(config, tiny_model, inputs, tmp_path / "out1", 1)
    build(config, tiny_model, inputs, tmp_path / "out2", 2)
    subprocess.run(make_command(config, tiny_model, inputs, tmp_path / "out3", 3), check=True)
    names = sorted(path.name for path in (tmp_path / "out1").iterdir())
    assert names == ["client_0.arrow", "client_1.arrow", "manifest.json", "test.arrow"]
    for name in names:
        one, *others = ((tmp_path / f"out{cores}" / name).read_bytes() for cores in (1, 2, 3))
        assert others == [one, one]
    if not packing:
        rows = datasets.Dataset.from_file(str(tmp_path / "out1" / "client_0.arrow"))["row"]
        assert list(rows) == sorted(rows)
        assert rows[-1] == 1199


def test_row_groups_of_any_size_are_read(tiny_model, inputs, tmp_path):
    table = pa.Table.from_pylist(ROWS * 1000)
    for size in (700, 6000):
        parquet.write_table(table, inputs[1] / "client_0.parquet", row_group_size=size)
        build(make_config(), tiny_model, inputs, tmp_path / str(size), 2)
    small, large = (
        datasets.Dataset.from_file(str(tmp_path / size / "client_0.arrow"))
        for size in ("700", "6000")
    )
    assert small[:] == large[:]
    assert list(large["row"]) == list(range(6000))


def test_too_long_rows_are_rejected_dropped_or_truncated(tiny_model, inputs, tmp_path):
    long = [ROWS[0], *({"text": "x" * (500 + i), "label": "bad"} for i in range(7))]
    write_rows(long, inputs[1] / "client_0.parquet")
    with pytest.raises(UserError) as error:
        build(make_config(max_length=100), tiny_model, inputs, tmp_path / "out")
    tokens = len("user\nGrade: \nassistant\nbad") + 500 + 4
    lines = [f"  row {i + 1}: {tokens + i} tokens; max_length is 100" for i in range(5)]
    assert str(error.value) == "\n".join(
        [
            "client_0.parquet: 7 of 8 rows cannot be used",
            *lines,
            "  and 2 more",
            "  hint: raise max_length, or set too_long: drop or truncate",
        ]
    )
    dropped = build(
        make_config(max_length=100, too_long="drop"), tiny_model, inputs, tmp_path / "dropped"
    )
    assert dropped["clients"][0]["rows"] == 1
    assert dropped["clients"][0]["dropped"] == {"too_long": 7, "unrenderable": 0, "leaks": 0}
    truncating = make_config(max_length=tokens - 1, too_long="truncate")
    truncated = build(truncating, tiny_model, inputs, tmp_path / "truncated")
    client = datasets.Dataset.from_file(str(tmp_path / "truncated" / "client_0.arrow"))
    # the longest rows lose their whole answer, so nothing is left to train on
    assert (truncated["clients"][0]["rows"], truncated["clients"][0]["truncated"]) == (
        len(client),
        3,
    )
    assert truncated["clients"][0]["dropped"] == {"too_long": 4, "unrenderable": 0, "leaks": 0}
    assert truncated["clients"][0]["longest"] == tokens - 1
    assert load_tokenizer(tiny_model).decode(client[-1]["labels"][-1:]) == "b"


def test_unrenderable_rows_are_rejected_or_dropped(tiny_model, inputs, tmp_path):
    rows = [{"text": f"t{i}", "label": None if i % 2 else "" if i == 4 else "x"} for i in range(14)]
    write_rows(rows, inputs[1] / "client_0.parquet")
    with pytest.raises(UserError) as error:
        build(make_config(), tiny_model, inputs, tmp_path / "out")
    assert str(error.value) == (
        "client_0.parquet: 8 of 14 rows cannot be used\n"
        "  rows 1, 3, 5, 7: completion: a value that it writes is null\n"
        "  template: {{ label }}\n"
        "  row 4: completion: the text is empty, so there is nothing to learn from it\n"
        "  and 3 more\n"
        "  hint: write {{ column or '' }} where nothing is meant; "
        "drop such rows from the data, or mend the template; "
        "set unrenderable: drop to leave such rows out"
    )
    manifest = build(make_config(unrenderable="drop"), tiny_model, inputs, tmp_path / "dropped")
    assert manifest["clients"][0]["rows"] == 6
    assert manifest["clients"][0]["dropped"] == {"too_long": 0, "unrenderable": 8, "leaks": 0}
    client = datasets.Dataset.from_file(str(tmp_path / "dropped" / "client_0.arrow"))
    assert list(client["row"]) == [0, 2, 6, 8, 10, 12]


@pytest.mark.parametrize("cores", [1, 2])
def test_client_without_rows_left_is_rejected(tiny_model, inputs, tmp_path, cores):
    with pytest.raises(UserError) as error:
        build(
            make_config(max_length=9, too_long="drop"), tiny_model, inputs, tmp_path / "out", cores
        )
    assert str(error.value) == (
        "client_0.parquet: none of 3 rows is left\n"
        "  rows 0, 2: 36 tokens; max_length is 9\n"
        "  row 1: 37 tokens; max_length is 9\n"
        "  hint: raise max_length"
    )


def test_format_is_detected(tiny_model, inputs, tmp_path):
    talk = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}] * 2
    for path in (*inputs[1].glob("*.parquet"), inputs[0] / "test.parquet"):
        write_rows([{"conversations": talk}], path)
    config = make_config(prompt=None, completion=None)
    manifest = build(config, tiny_model, inputs, tmp_path / "out")
    assert manifest["shape"] == {
        "name": "sharegpt",
        "detected": True,
        "columns": {"messages": "conversations"},
        "templates": {},
    }
    assert manifest["clients"][0]["completion_tokens"] == 4
    test = datasets.Dataset.from_file(str(tmp_path / "out" / "test.arrow"))
    turn = "<|im_start|>{}\n{}<|im_end|>\n"
    before = [turn.format("user", "q"), turn.format("assistant", "a"), turn.format("user", "q")]
    assert test[0]["prompt"] == "".join(before) + "<|im_start|>assistant\n"
    assert test[0]["completion"] == "a"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"prompt": "{{ txet }}"},
            r"client_0\.parquet: 3 of 3 rows cannot be used\n"
            r"  rows 0, 1, 2: prompt: there is no column 'txet'; did you mean 'text'\? "
            r"columns: text, label\n  template: \{\{ txet \}\}\n"
            r"  hint: set unrenderable: drop to leave such rows out$",
        ),
        (
            {"completion": "{{ ' ' if text == 'text 1' else label }}"},
            r"1 of 3 rows cannot be used\n  row 1: completion: the text is empty",
        ),
        (
            {"system": "{{ text.missing }}", "unrenderable": "drop"},
            r"none of 3 rows is left\n  rows 0, 1, 2: system: 'str object' has no attribute",
        ),
    ],
)
@pytest.mark.parametrize("cores", [1, 2])
def test_failing_templates_are_reported(tiny_model, inputs, tmp_path, changes, message, cores):
    with pytest.raises(UserError, match=message):
        build(make_config(**changes), tiny_model, inputs, tmp_path / "out", cores)


def test_workers_end_with_a_killed_script(tiny_model, inputs, tmp_path):
    write_rows([{"text": "x" * 400, "label": "y"}] * 200_000, inputs[1] / "client_0.parquet")
    parent = subprocess.Popen(make_command(make_config(), tiny_model, inputs, tmp_path / "out", 3))
    try:
        workers = _wait_for(lambda: len(pids := _list_children(parent.pid)) == 3 and pids)
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    _wait_for(lambda: not any(Path("/proc", str(worker)).exists() for worker in workers))


def _list_children(pid):
    path = Path("/proc", str(pid), "task", str(pid), "children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def _wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return value


def test_script_prints_warnings_of_the_chat_template(tiny_model, inputs, tmp_path):
    model = shutil.copytree(tiny_model, tmp_path / "model")
    write_json(model / "generation_config.json", {"eos_token_id": 0})
    for folder in (model, *inputs):
        write_checksums(folder, "test")
    command = make_command(make_config(), model, inputs, tmp_path / "out", 1)
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "warning: turns end with '<|im_end|>', at which the model's generation" in result.stdout
