"""The whole workflow for real on a tiny model: killed at every stage, started again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from checkouts import small_workflow
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

EXPERIMENT = Path("results/experiments/small")
PREPROCESSED = Path("results/preprocessed/teams/short/tiny")

# Stages in order, and the log that a stage opens when it starts.
LOGS = {
    "preprocess": "preprocess/teams/short/tiny.log",
    "federate": "federate/small.log",
    "merge": "merge/small.log",
    "evaluate": "evaluate/small.log",
}

ENGINE = 'experiments={"small": {"federation": {"engine": "%s"}}}'


@pytest.fixture(scope="module")
def home(tiny_model, tmp_path_factory):
    """A copy of the repository with a configuration and data of its own."""
    return small_workflow(tmp_path_factory.mktemp("workflow"), tiny_model)


def start(home, *options, engine="process"):
    config = ("--config", ENGINE % engine)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "2", *options, *config],
        cwd=home,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(home):
    """When each file of a finished stage was written."""
    done = [home / "results" / name for name in ("models", "datasets", "partitions")]
    done += [home / PREPROCESSED, home / EXPERIMENT / "adapter", home / EXPERIMENT / "merged"]
    files = [f for folder in done for f in sorted(folder.rglob("*")) if f.is_file()]
    return {f: f.stat().st_mtime_ns for f in files if ".partial" not in str(f)}


def dead(process):
    """Whether a process has ended, and only its parent has not looked yet."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def at_work(home, process, stage):
    """Whether a stage is; federate, which has SuperNodes here, once one of them is there."""
    if stage != "federate":
        return (home / "results/logs" / LOGS[stage]).exists()
    family = psutil.Process(process.pid).children(recursive=True)
    return any(not dead(child) and child.name().startswith("supernode_") for child in family)


@pytest.fixture(scope="module")
def results(home):
    """What comes out of a run that is killed at every stage and started again."""
    for stage in LOGS:
        process = start(home)
        while not at_work(home, process, stage):
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.1)
        time.sleep(1)
        before = finished(home)
        family = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
        _, alive = psutil.wait_procs(family, timeout=60)
        running = [child for child in alive if not dead(child)]
        assert running == [], f"left after a kill in {stage}"
        process.wait()
        start(home, "--unlock").wait()
        after = finished(home)
        assert {f: t for f, t in after.items() if f in before} == before, "finished work was lost"
    process = start(home)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    kept = finished(home)
    assert {f: t for f, t in kept.items() if f in before} == before
    return home


def test_it_resumed_and_nothing_is_left_to_do(results):
    assert (results / "results/report/index.html").stat().st_size > 10_000
    again = start(results)
    output, _ = again.communicate(timeout=60)
    assert "Nothing to be done" in output
    assert not list(results.rglob("*.partial"))


def test_an_interruption_changes_no_bit_of_the_adapter(results):
    """Neither does an engine: the same from the start, as a simulation."""
    shutil.rmtree(results / "results/checkpoints")
    file = results / EXPERIMENT / "adapter/adapter_model.safetensors"
    before = file.read_bytes()
    forced = ("--forcerun", "federate", "--until", "federate")
    process = start(results, *forced, engine="simulation")
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    assert "round 1/" in (results / "results/logs/federate/small.log").read_text()
    assert file.read_bytes() == before


def plain_accuracy(home, model):
    """Accuracy by likelihood, with nothing of ours: one forward a choice, no batches."""
    import pyarrow.parquet as pq

    tokenizer = AutoTokenizer.from_pretrained(home / EXPERIMENT / "merged")
    right = 0
    rows = pq.read_table(home / "results/datasets/words/test.parquet").to_pylist()
    for row in rows:
        turns = [{"role": "user", "content": f"{row['word']}?"}]
        prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        likelihood = {}
        for choice in ("yes", "no"):
            start = len(tokenizer(prompt)["input_ids"])
            ids = torch.tensor([tokenizer(prompt + choice + "<|im_end|>")["input_ids"]])
            logs = model(ids).logits[0, :-1].log_softmax(-1)
            each = logs.gather(1, ids[0, 1:, None])[start - 1 :]
            likelihood[choice] = float(each.sum())
        right += max(likelihood, key=likelihood.get) == row["answer"]
    return right / len(rows)


@torch.no_grad()
def test_plain_libraries_load_the_results_and_agree_on_the_accuracy(results):
    metrics = json.loads((results / EXPERIMENT / "metrics.json").read_text())
    merged = AutoModelForCausalLM.from_pretrained(results / EXPERIMENT / "merged").eval()
    base = AutoModelForCausalLM.from_pretrained(results / "results/models/tiny").eval()
    assert plain_accuracy(results, merged) == metrics["federated"]["accuracy"]["value"]
    assert plain_accuracy(results, base) == metrics["base"]["accuracy"]["value"]
    adapted = PeftModel.from_pretrained(base, results / EXPERIMENT / "adapter").eval()
    assert plain_accuracy(results, adapted) == metrics["federated"]["accuracy"]["value"]
    assert metrics["federated"]["accuracy"]["value"] > metrics["base"]["accuracy"]["value"]


def test_snakemake_makes_its_own_report(results):
    process = start(results, "--report", "results/snakemake.html")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    page = (results / "results/snakemake.html").read_text()
    assert "Before and after" in page
    assert "Loss by round" in page
