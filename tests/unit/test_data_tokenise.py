import subprocess
import sys
from pathlib import Path

import datasets
import pyarrow as pa
import pytest

from blossomtune.config.preprocessing import Preprocessing
from blossomtune.data import tokenise
from blossomtune.data.formats import write_parquet
from blossomtune.encoding import IGNORED, load_tokenizer
from blossomtune.errors import UserError
from blossomtune.files import canonical, read_json, write_json

STEP = Path(__file__).parents[2] / "workflow_scripts" / "preprocess.py"
ROWS = [{"text": f"text {i}", "label": "good" if i % 2 else "bad"} for i in range(6)]


@pytest.fixture
def inputs(tmp_path):
    """Two clients and a test split: (dataset, partition)."""
    dataset, partition = tmp_path / "dataset", tmp_path / "partition"
    dataset.mkdir()
    partition.mkdir()
    write_parquet(pa.Table.from_pylist(ROWS[:3]), partition / "client_0.parquet")
    write_parquet(pa.Table.from_pylist(ROWS[3:5]), partition / "client_1.parquet")
    write_parquet(pa.Table.from_pylist(ROWS[5:]), dataset / "test.parquet")
    write_json(partition / "manifest.json", {"clients": [{"client": 0}, {"client": 1}]})
    return dataset, partition


def block(**changes):
    given = {"prompt": "Judge: {{ text }}", "completion": "{{ label }}", **changes}
    return Preprocessing.model_validate(given).model_dump(mode="json")


def build(config, model, inputs, out):
    out.mkdir()
    return tokenise.build(config, model, *inputs, out)


def test_tokens_labels_and_texts(tiny_model, inputs, tmp_path):
    manifest = build(block(), tiny_model, inputs, tmp_path / "out")
    tokenizer = load_tokenizer(tiny_model)
    client = datasets.Dataset.from_file(str(tmp_path / "out" / "client_1.arrow"))
    assert client.column_names == ["row", "input_ids", "labels"]
    assert client["row"] == [0, 1]
    prompt = "<|im_start|>user\nJudge: text 3<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(client[0]["input_ids"]) == f"{prompt}good<|im_end|>"
    answer = [label for label in client[0]["labels"] if label != IGNORED]
    assert tokenizer.decode(answer) == "good<|im_end|>"

    test = datasets.Dataset.from_file(str(tmp_path / "out" / "test.arrow"))
    assert test[0]["prompt"] == prompt.replace("3", "5")
    assert test[0]["completion"] == "good"
    tokens = [len(ids) for ids in client["input_ids"]]
    counts = {k: v for k, v in manifest["clients"][1].items() if k != "sha256"}
    assert counts == {
        "client": 1,
        "rows": 2,
        "dropped": 0,
        "tokens": sum(tokens),
        "completion_tokens": len("good") + len("bad") + 2,
        "longest": max(tokens),
    }


def test_a_system_turn_is_a_template_too(tiny_model, inputs, tmp_path):
    build(block(system="Be {{ label }}."), tiny_model, inputs, tmp_path / "out")
    test = datasets.Dataset.from_file(str(tmp_path / "out" / "test.arrow"))
    assert test[0]["prompt"].startswith("<|im_start|>system\nBe good.<|im_end|>\n<|im_start|>user")


def test_the_same_bytes_whatever_the_number_of_cores(tiny_model, inputs, tmp_path):
    for cores in (1, 2):
        command = [sys.executable, STEP, "--config", canonical(block()), "--model", tiny_model]
        command += ["--dataset", inputs[0], "--partition", inputs[1]]
        command += ["--output", tmp_path / f"out{cores}", "--cores", str(cores)]
        subprocess.run(command, check=True)
    names = sorted(path.name for path in (tmp_path / "out1").iterdir())
    assert names == ["client_0.arrow", "client_1.arrow", "manifest.json", "test.arrow"]
    for name in names:
        one, two = ((tmp_path / f"out{cores}" / name).read_bytes() for cores in (1, 2))
        assert one == two


def test_a_row_that_is_too_long(tiny_model, inputs, tmp_path):
    long = pa.Table.from_pylist([ROWS[0], {"text": "x" * 500, "label": "bad"}])
    write_parquet(long, inputs[1] / "client_0.parquet")
    with pytest.raises(UserError) as error:
        build(block(max_length=100), tiny_model, inputs, tmp_path / "out")
    tokens = len("user\nJudge: \nassistant\nbad") + 500 + 4
    assert str(error.value) == (
        f"row 1 of client_0.parquet has {tokens} tokens; max_length is 100\n"
        "  hint: raise max_length, or set too_long: drop"
    )
    dropping = block(max_length=100, too_long="drop")
    manifest = build(dropping, tiny_model, inputs, tmp_path / "dropped")
    assert (manifest["clients"][0]["rows"], manifest["clients"][0]["dropped"]) == (1, 1)
    assert read_json(tmp_path / "dropped" / "manifest.json") == manifest


def test_a_client_with_no_row_left(tiny_model, inputs, tmp_path):
    with pytest.raises(
        UserError, match=r"client_0\.parquet: all 3 rows have over 9 tokens\n  hint"
    ):
        build(block(max_length=9, too_long="drop"), tiny_model, inputs, tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"prompt": "{{ txet }}"},
            r"row 0 of client_0\.parquet: prompt: there is no column 'txet'; did you mean 'text'\? "
            r"columns: text, label\n  template: \{\{ txet \}\}",
        ),
        (
            {"completion": "{{ ' ' if text == 'text 1' else label }}"},
            r"row 1 of client_0\.parquet: completion: the text is empty",
        ),
        ({"completion": "{% if %}"}, "completion: not a valid template"),
    ],
)
def test_templates_that_do_not_fit_the_rows(tiny_model, inputs, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        build(block(**changes), tiny_model, inputs, tmp_path / "out")
