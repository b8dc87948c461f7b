"""Scores of the stage beside those of the program `lm_eval`, on the same folder and data."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from checkout import ROOT

from blossomtune.artifacts.checksums import write_checksums
from blossomtune.config.benchmarks import BenchmarkSettings

ROWS = [
    {
        "question": f"How much is {i} plus {i}?",
        "choices": {"text": [f"{2 * i}", f"{i + 3}"], "label": ["A", "B"]},
        "answerKey": "AB"[i % 2],
    }
    for i in range(9)
]


def run(*command, **environment):
    """Run a program without the hub; return what it prints."""
    result = subprocess.run(
        [sys.executable, *map(str, command)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-3000:]
    return result.stdout


@pytest.mark.engine
def test_scores_equal_those_of_lm_eval_to_the_last_digit(engine, tiny_model, tmp_path):
    engine("simulation")
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    table = pa.Table.from_pylist(ROWS)
    pq.write_table(table, dataset / "test.parquet")
    pq.write_table(table.slice(0, 0), dataset / "train.parquet")
    write_checksums(dataset, "download")
    benchmark = BenchmarkSettings(task="arc_easy", dataset="own", limit=7).model_dump(mode="json")
    settings = {"benchmarks": [benchmark], "batch_size": 4, "dtype": "float32", "device": "cpu"}
    config = tmp_path / "config.json"
    config.write_text(json.dumps(settings | {"gpus": 0, "chat_template_arguments": {}}))
    script = ROOT / "workflow_scripts/benchmark.py"
    options = ["--config", config, "--model", tiny_model, "--dataset", f"own={dataset}"]
    run(script, *options, "--output", tmp_path / "scores.json", "--cores", 1)
    task = json.loads((tmp_path / "scores.json").read_text())["tasks"]["arc_easy"]

    import lm_eval.tasks

    original = Path(lm_eval.tasks.__file__).parent / "arc/arc_easy.yaml"
    by_hand = {"include": str(original), "task": "by_hand", "dataset_path": "parquet"}
    by_hand |= {"dataset_name": None, "training_split": None, "validation_split": None}
    by_hand["dataset_kwargs"] = {"data_files": {"test": str(dataset / "test.parquet")}}
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/by_hand.yaml").write_text(yaml.safe_dump(by_hand))
    model = ["--model", "hf", "--model_args", f"pretrained={tiny_model},dtype=float32"]
    rows = ["--tasks", "by_hand", "--include_path", tmp_path / "tasks", "--limit", 7]
    how = ["--device", "cpu", "--batch_size", 4, "--output_path", tmp_path / "by_hand"]
    run("-m", "lm_eval", "run", *model, *rows, *how, HF_DATASETS_CACHE=str(tmp_path / "cache"))
    [file] = (tmp_path / "by_hand").rglob("results_*.json")
    expected = json.loads(file.read_text())["results"]["by_hand"]

    assert set(task["scores"]) == {"acc", "acc_norm"}
    for metric, score in task["scores"].items():
        assert score["value"] == expected[f"{metric},none"]
        assert score["standard_error"] == expected[f"{metric}_stderr,none"]
