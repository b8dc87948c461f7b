"""The workflow on class names, and on columns whose names are no plain words."""

import json
import shutil

import pytest
from checkout import copy_workflow
from datasets import ClassLabel, Dataset, Features, Value
from patience import PATIENCE
from pyarrow import parquet
from small_workflow import run_snakemake, start_snakemake, write_config

QUESTION, ANSWER, CLIENT = "Question text", 'the "right" answer', "data.client"
TEMPLATES = {
    "prompt": f'{{{{ row["{QUESTION}"] }}}} {{{{ row["{CLIENT}"] }}}}',
    "completion": f"{{{{ row['{ANSWER}'] }}}}",
}
CONFIG = {
    "run": ["colours"],
    "models": {"tiny": {"source": {"kind": "path", "path": "tiny"}}},
    "datasets": {
        "colours": {
            "source": {"kind": "path", "path": "colours.parquet"},
            "rename": {"label": ANSWER},
            "filter": f"row['{ANSWER}'] is not none",
            "deduplicate_by": [QUESTION, CLIENT],
            "test": {"size": 8, "stratify_by": ANSWER},
        }
    },
    "partitions": {
        "by-client": {
            "dataset": "colours",
            "partitioner": "natural_id",
            "column": CLIENT,
            "num_partitions": 2,
        }
    },
    "preprocessing": {"asked": {"max_length": 200} | TEMPLATES},
    "experiments": {
        "colours": {
            "model": "tiny",
            "partition": "by-client",
            "preprocessing": "asked",
            "lora": {"r": 4},
            "training": {
                "learning_rate_max": 2e-2,
                "arguments": {"per_device_train_batch_size": 4, "max_steps": 4},
            },
            "federation": {"rounds": 1},
            "evaluation": {
                "choices": ["blue", "green"],
                "by": ANSWER,
                "generation": {"rows": 2, "max_new_tokens": 3},
            },
        }
    },
}


@pytest.fixture(scope="module")
def home(tiny_model, tmp_path_factory):
    """Return a copy of the workflow with a parquet file of class numbers."""
    home = tmp_path_factory.mktemp("columns")
    copy_workflow(home)
    shutil.copytree(tiny_model, home / "tiny")
    label = ClassLabel(names=["blue", "green"])
    features = {QUESTION: Value("string"), CLIENT: ClassLabel(names=["north", "süd"])}
    features |= {"label": label}
    rows = [
        {
            QUESTION: f"{('sky', 'grass')[i % 2]} {i}?",
            CLIENT: i // 2 % 2,
            "label": i % 2,
        }
        for i in range(48)
    ]
    rows.append(rows[0] | {QUESTION: "nothing?", "label": -1})
    dataset = Dataset.from_list(rows, Features(features))
    dataset.to_parquet(home / "colours.parquet")
    return home


@pytest.fixture(scope="module")
def results(home):
    """Return the results of a run."""
    write_config(home, CONFIG)
    run_snakemake(home, "all")
    return home / "results"


def read_json(path):
    return json.loads(path.read_text())


def test_every_stage_has_the_class_names(results):
    manifest = read_json(results / "datasets/colours/manifest.json")
    assert manifest["rows"]["filtered"] == 1
    assert {labels["column"]: labels["names"] for labels in manifest["class_labels"]} == {
        ANSWER: ["blue", "green"],
        CLIENT: ["north", "süd"],
    }
    partition = read_json(results / "partitions/by-client/manifest.json")
    assert [client["name"] for client in partition["clients"]] == ["north", "süd"]
    assert partition["labels"] == {"blue": 20, "green": 20}
    test = parquet.read_table(results / "datasets/colours/test.parquet").to_pylist()
    assert {(row[QUESTION].split()[0], row[ANSWER]) for row in test} == {
        ("sky", "blue"),
        ("grass", "green"),
    }


def test_models_are_evaluated_and_reported_by_class_name(results):
    metrics = json.dumps(read_json(results / "experiments/colours/metrics.json"))
    for name in ("blue", "green", "north"):
        assert f'"{name}"' in metrics
    page = (results / "report/index.html").read_text()
    assert "süd" in page


def test_template_that_uses_a_class_as_a_number_fails_the_run(home):
    config = json.loads(json.dumps(CONFIG).replace(json.dumps(ANSWER)[1:-1], "shade"))
    config["preprocessing"]["asked"] |= {"prompt": "{{ row['Question text'] }}"}
    completion = "{{ 'blue' if shade == 0 else 'green' }}"
    config["preprocessing"]["asked"] |= {"completion": completion}
    write_config(home, config)
    process = start_snakemake(home, "--cores", "1", "results/preprocessed/by-client/asked/tiny")
    output, _ = process.communicate(timeout=PATIENCE)
    logs = [log.read_text() for log in (home / "results/logs").rglob("*.log")]
    assert process.returncode != 0
    message = "column 'shade' has class names (blue, green)"
    assert any(message in text for text in [output, *logs])
