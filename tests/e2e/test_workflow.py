"""The whole workflow on a tiny model: killed in every stage, copied, and damaged."""

import re
import shutil
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import torch
from checkout import Checkout
from patience import PATIENCE
from peft import PeftModel
from small_workflow import (
    create_small_workflow,
    run_snakemake,
    run_step,
    start_snakemake,
)
from transformers import AutoModelForCausalLM, AutoTokenizer

from blossomtune.files import read_json

EXPERIMENT = Path("results/experiments/small")
PREPROCESSED = Path("results/preprocessed/teams/short/tiny")
ADAPTER = EXPERIMENT / "adapter/adapter_model.safetensors"

# A stage creates its log when it starts.
LOGS = {
    "preprocess": "preprocess/teams/short/tiny.log",
    "federate": "federate/small.log",
    "merge": "merge/small.log",
    "evaluate": "evaluate/small.log",
}

SIMULATION = ("--config", 'experiments={"small": {"federation": {"engine": "simulation"}}}')

DAMAGES = [
    ("report", EXPERIMENT / "history.json", "federate"),
    ("evaluate", EXPERIMENT / "merged/model.safetensors", "merge"),
    ("merge", ADAPTER, "federate"),
    ("train_baseline", PREPROCESSED / "client_0.arrow", "preprocess"),
    ("federate", "results/partitions/teams/client_0.parquet", "partition"),
    ("preprocess", "results/partitions/teams/client_0.parquet", "partition"),
    ("partition", "results/datasets/words/train.parquet", "download"),
]
"""Reader, damaged file, and its stage. Last readers come first, since they lose their outputs."""


@pytest.fixture(scope="module")
def home(tiny_model, tmp_path_factory):
    """Return a copy of the workflow with a small configuration, its data and its model."""
    home = create_small_workflow(tmp_path_factory.mktemp("workflow"), tiny_model)
    shutil.copytree(tiny_model, home / "own_model")

    def change(config):
        config["models"]["tiny"]["source"]["path"] = "own_model"
        config["experiments"]["small"]["federation"]["engine"] = "process"

    Checkout(home).configure(change)
    return home


def start(home, *options):
    return start_snakemake(home, "--cores", "2", *options)


def finish(process):
    """Wait until Snakemake succeeds; return its output."""
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    return output


def read_times(home):
    """Return the modification times of the files of finished stages."""
    folders = [home / "results" / name for name in ("models", "datasets", "partitions")]
    folders += [home / PREPROCESSED, home / EXPERIMENT / "adapter", home / EXPERIMENT / "merged"]
    files = [f for folder in folders for f in folder.rglob("*") if f.is_file()]
    return {f: f.stat().st_mtime_ns for f in files if ".partial" not in str(f)}


def is_running(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def has_started(home, process, stage):
    """Return whether a stage has started; federate has once a SuperNode runs."""
    if stage != "federate":
        return (home / "results/logs" / LOGS[stage]).exists()
    children = psutil.Process(process.pid).children(recursive=True)
    return any(is_running(child) and child.name().startswith("supernode_") for child in children)


@pytest.fixture(scope="module")
def results(home):
    """Run the workflow, killed in every stage and started again; return its folder."""
    for stage in LOGS:
        process = start(home)
        while not has_started(home, process, stage):
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.1)
        time.sleep(1)
        before = read_times(home)
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        _, alive = psutil.wait_procs(children, timeout=60)
        assert [child for child in alive if is_running(child)] == [], f"killed in {stage}"
        process.wait()
        start(home, "--unlock").wait()
        assert before.items() <= read_times(home).items(), "finished work was lost"
    finish(start(home))
    assert before.items() <= read_times(home).items()
    return home


def test_resumed_run_is_complete_and_leaves_no_partial_files(results):
    assert (results / "results/report/index.html").stat().st_size > 10_000
    assert "Nothing to be done" in finish(start(results))
    assert not list(results.rglob("*.partial"))


@pytest.fixture
def copied(results, tmp_path):
    """Return a copy of it with new times."""
    subprocess.run(["cp", "-r", results, tmp_path / "copy"], check=True)
    return tmp_path / "copy"


def flip_byte(file):
    """Change a byte in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_nothing_is_to_be_done_in_a_copy(copied):
    assert "Nothing to be done" in run_snakemake(copied, "--dry-run")


def test_damaged_file_is_named_by_each_stage_that_reads_it(copied):
    """Run each stage's command as Snakemake prints it, on a damaged input."""
    baselines = {"centralised": True}
    Checkout(copied).configure(lambda c: c["experiments"]["small"].update(baselines=baselines))
    planned = run_snakemake(copied, "--dry-run", "--printshellcmds", "--forceall")
    for reader, name, stage in DAMAGES:
        [command] = re.findall(rf"(python workflow_scripts/{reader}\.py .*)", planned)
        before = (copied / name).read_bytes()
        flip_byte(copied / name)
        done = run_step(copied, command)
        assert done.returncode == 1, f"{reader} has read {name}"
        log = "".join(file.read_text() for file in (copied / "results/logs").rglob("*.log"))
        expected = f"error: {name}: the content has changed since stage {stage} wrote it"
        assert expected in done.stdout + log
        (copied / name).write_bytes(before)


def test_command_of_the_hint_repairs_a_damaged_file(copied, results):
    flip_byte(copied / ADAPTER)
    process = start_snakemake(copied, "--cores", "1", "--forcerun", "merge")
    output, _ = process.communicate()
    [command] = re.findall(r"hint: `snakemake --cores all (.*)` builds it again", output)
    run_snakemake(copied, *command.split(), "--until", "merge")
    for name in (ADAPTER, EXPERIMENT / "merged/model.safetensors"):
        assert (copied / name).read_bytes() == (results / name).read_bytes()
    log = (copied / "results/logs/federate/small.log").read_text()
    assert "round 1/" not in log, "a copied folder resumes from its checkpoints"


def test_interruption_and_engine_do_not_change_the_adapter(results):
    """An uninterrupted simulation makes the same adapter as the killed SuperNodes."""
    shutil.rmtree(results / "results/checkpoints")
    file = results / ADAPTER
    before = file.read_bytes()
    forced = ("--forcerun", "federate", "--until", "federate")
    finish(start(results, *forced, *SIMULATION))
    assert "round 1/" in (results / "results/logs/federate/small.log").read_text()
    assert file.read_bytes() == before


def compute_accuracy(home, model):
    """Return the accuracy by likelihood, without this project's code: one forward per choice."""
    import pyarrow.parquet as pq

    tokenizer = AutoTokenizer.from_pretrained(home / EXPERIMENT / "merged")
    correct = 0
    rows = pq.read_table(home / "results/datasets/words/test.parquet").to_pylist()
    for row in rows:
        turns = [{"role": "user", "content": f"{row['word']}?"}]
        prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        likelihood = {}
        for choice in ("yes", "no"):
            start = len(tokenizer(prompt)["input_ids"])
            ids = torch.tensor([tokenizer(prompt + choice + "<|im_end|>")["input_ids"]])
            log_probs = model(ids).logits[0, :-1].log_softmax(-1)
            answer = log_probs.gather(1, ids[0, 1:, None])[start - 1 :]
            likelihood[choice] = float(answer.sum())
        correct += max(likelihood, key=likelihood.get) == row["answer"]
    return correct / len(rows)


@torch.no_grad()
def test_accuracy_equals_that_of_plain_transformers_and_peft(results):
    metrics = read_json(results / EXPERIMENT / "metrics.json")
    merged = AutoModelForCausalLM.from_pretrained(results / EXPERIMENT / "merged").eval()
    base = AutoModelForCausalLM.from_pretrained(results / "results/models/tiny").eval()
    assert compute_accuracy(results, merged) == metrics["federated"]["accuracy"]["value"]
    assert compute_accuracy(results, base) == metrics["base"]["accuracy"]["value"]
    adapted = PeftModel.from_pretrained(base, results / EXPERIMENT / "adapter").eval()
    assert compute_accuracy(results, adapted) == metrics["federated"]["accuracy"]["value"]
    assert metrics["federated"]["accuracy"]["value"] > metrics["base"]["accuracy"]["value"]


def test_snakemake_report_contains_the_figures(results):
    finish(start(results, "--report", "results/snakemake.html"))
    page = (results / "results/snakemake.html").read_text()
    assert "Before and after" in page
    assert "Loss by round" in page
