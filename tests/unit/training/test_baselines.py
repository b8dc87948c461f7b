import json
import logging
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
import safetensors.torch
from artifact_samples import client_token_counts, partition_manifest, provenance, tokenized_manifest
from baseline_configs import build_baseline_config
from chat_examples import encode_example, render_prompt
from tiny_architectures import build_text_model, save_model

from blossomtune.artifacts.checksums import write_checksums
from blossomtune.artifacts.files import write_artifact
from blossomtune.errors import UserError
from blossomtune.files import compute_file_sha256, read_json
from blossomtune.modeling.tokenizer import load_tokenizer
from blossomtune.training import client_sampling
from blossomtune.training.baseline_schedule import Baseline
from blossomtune.training.baselines import train_baseline

SCRIPT = Path(__file__).parents[3] / "workflow_scripts/train_baseline.py"
CLIENTS = 3


@pytest.fixture(autouse=True)
def log_rounds(caplog):
    caplog.set_level(logging.INFO, logger="blossomtune")


@pytest.fixture(scope="module")
def inputs(tiny_model, tmp_path_factory):
    """Write what fetch_model, partition and preprocess write, and return the directories."""
    root = tmp_path_factory.mktemp("baselines")
    tokenizer = load_tokenizer(tiny_model)
    counts = []
    (root / "preprocessed").mkdir()
    for i in range(CLIENTS):
        prompts = [render_prompt(tokenizer, f"{i} says {k}") for k in range(8 + 4 * i)]
        pairs = [
            encode_example(tokenizer, prompt, "yes" if k % 2 else "no")
            for k, prompt in enumerate(prompts)
        ]
        integers = pa.list_(pa.int32())
        table = pa.table(
            {
                "input_ids": pa.array([ids for ids, _ in pairs], integers),
                "labels": pa.array([labels for _, labels in pairs], integers),
            }
        )
        path = root / f"preprocessed/client_{i}.arrow"
        with pa.ipc.new_stream(str(path), table.schema) as stream:
            stream.write_table(table)
        counts.append(client_token_counts(i, len(pairs), sha256=compute_file_sha256(path)))
    write_artifact(root / "preprocessed/manifest.json", tokenized_manifest(counts))
    names = [f"lab {i}" for i in range(CLIENTS)]
    write_artifact(root / "partition/manifest.json", partition_manifest(names))
    shutil.copytree(tiny_model, root / "model")
    write_artifact(root / "model/provenance.json", provenance())
    folders = {name: root / name for name in ("model", "partition", "preprocessed")}
    for stage, folder in folders.items():
        write_checksums(folder, stage)
    return folders


def output_paths(folder):
    return {"history": folder / "history.json", "checkpoints": folder / "checkpoints"}


def train(name, config, inputs, folder):
    """Train a baseline and return its history and the bytes of its adapter."""
    train_baseline(
        Baseline.from_name(name, config),
        **inputs,
        adapter_dir=folder / "adapter",
        **output_paths(folder),
    )
    adapter = (folder / "adapter/adapter_model.safetensors").read_bytes()
    return read_json(folder / "history.json"), adapter


def test_adapter_that_cannot_be_merged_is_refused_before_the_first_round(
    tiny_model, inputs, tmp_path
):
    model = save_model(build_text_model("qwen3"), tmp_path / "model", tiny_model)
    write_artifact(model / "provenance.json", provenance())
    config = build_baseline_config()
    config["lora"]["target_modules"] = ["q_proj", "lm_head"]
    with pytest.raises(UserError, match="lm_head has the same weights as embed_tokens"):
        train("centralised", config, inputs | {"model": model}, tmp_path)
    assert not (tmp_path / "checkpoints").exists()


def without_seconds(history):
    rounds = [{k: v for k, v in record.items() if k != "seconds"} for record in history["rounds"]]
    return history | {"rounds": rounds}


@pytest.fixture(scope="module")
def centralized(inputs, tmp_path_factory):
    """Train without interruption, with an optimizer that continues across rounds."""
    config = build_baseline_config({"optimizer_state": "kept"})
    folder = tmp_path_factory.mktemp("centralized")
    return config, folder, *train("centralised", config, inputs, folder)


def test_baseline_learns_and_records_its_rounds(centralized):
    _, _, history, _ = centralized
    assert (history["clients"], history["rank"]) == (["lab 0", "lab 1", "lab 2"], 4)
    assert [record["round"] for record in history["rounds"]] == [1, 2, 3]
    assert [record["steps"] for record in history["rounds"]] == [6, 6, 6]
    assert [record["examples"] for record in history["rounds"]] == [24, 24, 24]
    losses = [record["train_loss"] for record in history["rounds"]]
    assert losses[2] < losses[0] / 2
    assert all(record["tokens"] > 0 and record["seconds"] > 0 for record in history["rounds"])


def test_resumed_baseline_has_the_same_bytes(centralized, inputs, tmp_path, caplog):
    config, folder, history, adapter = centralized
    shutil.copytree(folder / "checkpoints", tmp_path / "checkpoints")
    [last] = (tmp_path / "checkpoints").glob("*/round-00003")
    shutil.rmtree(last)
    resumed_history, resumed_adapter = train("centralised", config, inputs, tmp_path)
    assert resumed_adapter == adapter
    assert without_seconds(resumed_history) == without_seconds(history)
    assert resumed_history["rounds"][:2] == history["rounds"][:2]  # same seconds: not repeated
    assert "round 3/3" in caplog.text
    assert "round 2/3" not in caplog.text


def test_killed_baseline_resumes_to_the_same_bytes(centralized, inputs, tmp_path):
    config, _, history, adapter = centralized
    paths = {**inputs, "adapter": tmp_path / "adapter", **output_paths(tmp_path)}
    command = [sys.executable, SCRIPT, "--name", "centralised", "--config", json.dumps(config)]
    command += [str(arg) for key, path in paths.items() for arg in (f"--{key}", path)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("checkpoints/*/round-00001")) and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "history.json").exists()
    resumed = subprocess.run(command, capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    assert "round 3/3" in resumed.stderr and "round 1/3" not in resumed.stderr
    assert (tmp_path / "adapter/adapter_model.safetensors").read_bytes() == adapter
    assert without_seconds(read_json(tmp_path / "history.json")) == without_seconds(history)


def test_local_baseline_has_the_rank_of_its_client(inputs, tmp_path):
    config = build_baseline_config(lora={"ranks": [4, 2, 1]}, rounds=1)
    history, _ = train("local_1", config, inputs, tmp_path)
    assert (history["clients"], history["rank"]) == (["lab 1"], 2)
    state = safetensors.torch.load_file(tmp_path / "adapter/adapter_model.safetensors")
    assert {v.shape[0] for name, v in state.items() if name.endswith("lora_A.weight")} == {2}
    assert read_json(tmp_path / "adapter/adapter_config.json")["r"] == 2


def test_client_that_is_never_sampled_has_a_new_adapter(inputs, tmp_path):
    config = build_baseline_config(rounds=1, fraction_train=0.3)
    [sampled] = client_sampling.sample_clients(7, 1, range(CLIENTS), 0.3)
    history, _ = train(f"local_{(sampled + 1) % CLIENTS}", config, inputs, tmp_path)
    [record] = history["rounds"]
    assert (record["steps"], record["examples"], record["train_loss"]) == (0, 0, None)
    state = safetensors.torch.load_file(tmp_path / "adapter/adapter_model.safetensors")
    assert all(not v.any() for name, v in state.items() if name.endswith("lora_B.weight"))


def test_baseline_does_not_resume_from_another_one(centralized, inputs, tmp_path, caplog):
    config, folder, _, _ = centralized
    shutil.copytree(folder / "checkpoints", tmp_path / "checkpoints")
    train("local_0", config, inputs, tmp_path)
    assert "round 1/3" in caplog.text


def test_more_rounds_resume_if_the_learning_rate_is_constant(inputs, tmp_path, caplog):
    for rounds in (1, 2):
        config = build_baseline_config(rounds=rounds)
        config["training"] |= {"learning_rate_min": 1e-2, "learning_rate_max": 1e-2}
        train("local_0", config, inputs, tmp_path / str(rounds))
        shutil.copytree(tmp_path / "1/checkpoints", tmp_path / "2/checkpoints", dirs_exist_ok=True)
    rounds = [message.partition(":")[0] for message in caplog.messages]
    assert rounds == ["round 1/1", "round 2/2"]
