"""The whole workflow on a tiny model, killed in every stage and started again."""

import shutil
import time
from pathlib import Path

import psutil
import pytest
import torch
from peft import PeftModel
from small_workflow import create_small_workflow, start_snakemake
from transformers import AutoModelForCausalLM, AutoTokenizer

from blossomtune.files import read_json

EXPERIMENT = Path("results/experiments/small")
PREPROCESSED = Path("results/preprocessed/teams/short/tiny")

# A stage creates its log when it starts.
LOGS = {
    "preprocess": "preprocess/teams/short/tiny.log",
    "federate": "federate/small.log",
    "merge": "merge/small.log",
    "evaluate": "evaluate/small.log",
}

ENGINE_CONFIG = 'experiments={"small": {"federation": {"engine": "%s"}}}'


@pytest.fixture(scope="module")
def home(tiny_model, tmp_path_factory):
    """Return a copy of the workflow with a small configuration and its data."""
    return create_small_workflow(tmp_path_factory.mktemp("workflow"), tiny_model)


def start(home, *options, engine="process"):
    config = ("--config", ENGINE_CONFIG % engine)
    return start_snakemake(home, "--cores", "2", *options, *config)


def finish(process, timeout):
    """Wait until Snakemake succeeds; return its output."""
    output, _ = process.communicate(timeout=timeout)
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
    finish(start(home), timeout=300)
    assert before.items() <= read_times(home).items()
    return home


def test_resumed_run_is_complete_and_leaves_no_partial_files(results):
    assert (results / "results/report/index.html").stat().st_size > 10_000
    assert "Nothing to be done" in finish(start(results), timeout=60)
    assert not list(results.rglob("*.partial"))


def test_interruption_and_engine_do_not_change_the_adapter(results):
    """An uninterrupted simulation makes the same adapter as the killed SuperNodes."""
    shutil.rmtree(results / "results/checkpoints")
    file = results / EXPERIMENT / "adapter/adapter_model.safetensors"
    before = file.read_bytes()
    forced = ("--forcerun", "federate", "--until", "federate")
    finish(start(results, *forced, engine="simulation"), timeout=200)
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
    finish(start(results, "--report", "results/snakemake.html"), timeout=120)
    page = (results / "results/snakemake.html").read_text()
    assert "Before and after" in page
    assert "Loss by round" in page
