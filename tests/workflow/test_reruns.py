"""Stages that rerun after one edit, read from a dry run.

Every key of the blocks of data has its turn in test_config_cases.py.

A real run of the default takes minutes. Here it happens once with a stand-in for ``python``, which
makes the outputs of each step at once: so the records that Snakemake keeps of parameters, inputs,
code and times are its own, as after a real run. All dry runs that follow are the real thing. What
the steps write is not tested here, nor that they read only what their rule hands to them.
"""

import os
import shutil
from collections import Counter

import pytest
from checkout import CONFIG, Checkout

LIBRARY = "workflow_scripts/blossomtune"
EXPERIMENT = "experiments.quickstart"

# A stage and all that follow it. `all` is the target that everything leads to.
REPORT = {"report", "all"}
EVALUATE = {"evaluate", "collect_metrics"} | REPORT
MERGE = {"merge"} | EVALUATE
FEDERATE = {"federate"} | MERGE
PREPROCESS = {"preprocess"} | FEDERATE
FETCH_MODEL = {"fetch_model"} | PREPROCESS
PARTITION = {"partition", "draw_partition"} | PREPROCESS
DOWNLOAD = {"download"} | PARTITION
NOTHING = set()


@pytest.fixture(scope="module")
def finished(checkout, finish):
    """A checkout in which everything is done."""
    return finish(checkout)


@pytest.fixture
def after(finished, tmp_path):
    """A copy of the finished checkout, to edit; times of files are kept."""
    return Checkout(shutil.copytree(finished.root, tmp_path / "workflow"))


def put(path, value):
    """A change of a configuration: the key at ``path`` gets a value."""

    def change(data):
        *above, last = path.split(".")
        for key in above:
            data = data.setdefault(key, {})
        data[last] = value

    return change


KEYS = [
    ("tracking", ["wandb", "mlflow"], {"track", "all"}),
    ("seed", 43, DOWNLOAD),
    ("models.smollm2-135m-instruct.source.file", "*.safetensors", FETCH_MODEL),
    ("datasets.vader-sentiment.derive.domain", "{{ file }}", DOWNLOAD),
    ("partitions.by-domain.column", "label", PARTITION),
    ("preprocessing.sentiment.prompt", "{{ text }}", PREPROCESS),
    ("preprocessing.sentiment.max_length", 300, PREPROCESS),
    (f"{EXPERIMENT}.training.learning_rate_max", 0.0123, FEDERATE),
    (f"{EXPERIMENT}.lora.r", 5, FEDERATE),
    (f"{EXPERIMENT}.federation.rounds", 9, FEDERATE),
    (f"{EXPERIMENT}.evaluation.by", "label", EVALUATE),
    ("report.title", "Another title", REPORT),
    ("container.base", "docker://python:3.12-slim", NOTHING),
    ("preprocessing.unused", {"prompt": "{{ text }}", "completion": "x"}, NOTHING),
    (f"{EXPERIMENT}.lora.rslora", "no", NOTHING),  # the default, spelt out
]


@pytest.mark.parametrize(("key", "value", "rules"), KEYS, ids=[key for key, *_ in KEYS])
def test_one_key(after, key, value, rules):
    after.configure(put(key, value))
    assert set(after.planned()) == rules


def test_preview_follows_the_preprocessing(after, finish):
    finish(after, "preview")
    assert after.planned("preview") == {}
    after.configure(put(f"{EXPERIMENT}.training.learning_rate_max", 0.0123))
    assert after.planned("preview") == {}
    after.append(f"{LIBRARY}/reporting/preview/preview.css", "/* a comment */")
    assert set(after.planned("preview")) == {"render_preview", "preview"}
    assert set(after.planned()) == FEDERATE
    after.configure(put("preprocessing.sentiment.max_length", 300))
    stages = {"preprocess", "render_preview", "preview"}
    assert set(after.planned("preview")) == stages


CODE = [
    ("data/fetch_model.py", FETCH_MODEL),
    ("data/preparation/build_dataset.py", DOWNLOAD),
    ("data/partitioning/partitioners.py", PARTITION),
    ("data/tokenization/build_tokenized.py", PREPROCESS),
    ("federation/server/rounds.py", FEDERATE),
    ("deployment/simulation.py", FEDERATE),
    ("export/merge.py", MERGE),
    ("evaluation/metrics.py", EVALUATE),
    ("reporting/page.html.jinja", REPORT),
    ("reporting/partition.py", {"draw_partition"} | REPORT),
    ("config/load.py", NOTHING),
    ("deployment/host_mounts.py", NOTHING),
    ("deployment/docker.py", NOTHING),
    ("files.py", FETCH_MODEL | DOWNLOAD),
]


@pytest.mark.parametrize(("module", "rules"), CODE, ids=[module for module, _ in CODE])
def test_a_line_of_code(after, module, rules):
    after.append(f"{LIBRARY}/{module}", "# a comment")
    assert set(after.planned()) == rules


def test_comments_key_order_and_touched_files_do_not_count(after):
    for part in ("config", "containers", "envs", "rules", "workflow_scripts", "Snakefile"):
        path = after.root / part
        for file in (path, *path.rglob("*")):
            os.utime(file)
    for rules in (after.root / "rules").glob("*.smk"):
        after.append(f"rules/{rules.name}", "# a comment")
    after.configure(lambda data: None, sort_keys=True, default_flow_style=True)
    after.append(CONFIG, "# a comment")
    assert after.planned() == {}


def test_a_second_experiment_shares_what_is_there(after):
    def change(data):
        first = data["experiments"]["quickstart"]
        data["experiments"]["wider"] = first | {"lora": {"r": 16}}
        data["run"] = ["quickstart", "wider"]

    after.configure(change)
    stages = ["federate", "merge", "evaluate", "collect_metrics", "report", "all"]
    assert after.planned() == Counter(stages)


def test_controls_do_not_follow_the_federation(after, finish):
    after.configure(put(f"{EXPERIMENT}.baselines", {"centralised": True, "local": True}))
    stages = ["evaluate", "collect_metrics", "report", "all"]
    assert after.planned() == Counter([*["train_baseline"] * 5, *stages])
    finish(after)
    told = sorted(path.name for path in (after.root / "results/experiments").glob("*/baselines/*"))
    assert told == ["centralised", "local_0", "local_1", "local_2", "local_3"]
    after.configure(put(f"{EXPERIMENT}.federation.strategy", "fedprox"))
    after.append(f"{LIBRARY}/federation/rounds.py", "# a comment")
    assert set(after.planned()) == FEDERATE
    after.configure(put(f"{EXPERIMENT}.federation.rounds", 9))
    assert set(after.planned()) == {"train_baseline"} | FEDERATE


@pytest.mark.parametrize("path", ["own", "own/d*/*.csv"])
def test_files_in_a_local_folder_count(after, finish, path):
    folder = after.root / "own" / "deep"
    folder.mkdir(parents=True)
    data = folder / "data.csv"
    data.write_text("text,label\n")
    after.configure(put("datasets.vader-sentiment.source", {"kind": "path", "path": path}))
    finish(after)
    os.utime(data)
    assert after.planned() == {}
    data.write_text("text,label\nfine,positive\n")
    assert set(after.planned()) == DOWNLOAD
    data.write_text("text,label\n")
    (folder / "more.csv").write_text("text,label\n")
    assert set(after.planned()) == DOWNLOAD
