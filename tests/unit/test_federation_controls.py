"""Controls take the federation's steps, and go on where they were killed."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
import safetensors.torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blossomtune.config.lora import LoraSettings
from blossomtune.config.training import TrainingSettings
from blossomtune.files import compute_file_sha256, read_json, write_json
from blossomtune.modeling.chat_template import render_prompt
from blossomtune.modeling.encoding import encode_example
from blossomtune.modeling.tokenizer import load_tokenizer
from blossomtune.training import schedule
from blossomtune.training.baseline_schedule import Baseline
from blossomtune.training.baselines import train_baseline

ROOT = Path(__file__).parents[2]
CLIENTS = 3


def configuration(training=None, lora=None, **changed):
    arguments = {"per_device_train_batch_size": 4, "max_steps": 2}
    return {
        "seed": 7,
        "lora": LoraSettings(r=4, alpha=8, **(lora or {})).model_dump(mode="json"),
        "training": TrainingSettings(
            learning_rate_max=1e-2, **({"arguments": arguments} | (training or {}))
        ).model_dump(mode="json"),
        "rounds": 3,
        "fraction_train": 1.0,
        "gpu": False,
        "threads": 1,
    } | changed


fractions = st.floats(0.05, 1)
held = st.lists(st.integers(1, 30), min_size=1, max_size=6)
arguments = st.fixed_dictionaries(
    {"per_device_train_batch_size": st.integers(1, 4)},
    optional={"max_steps": st.integers(1, 5), "num_train_epochs": st.sampled_from([0.5, 1.0, 2.0])},
)


@settings(max_examples=40)
@given(held, fractions, st.integers(1, 5), arguments)
def test_controls_take_as_many_steps_as_the_federation(rows, fraction, rounds, chosen):
    config = configuration({"arguments": chosen}, rounds=rounds, fraction_train=fraction)
    pooled = list(Baseline.from_name("centralised", config).iterate_rounds(rows))
    alone = [
        list(Baseline.from_name(f"local_{i}", config).iterate_rounds(rows))
        for i in range(len(rows))
    ]
    training = TrainingSettings.model_validate(config["training"])
    for r in range(1, rounds + 1):
        asked = schedule.sample_clients(7, r, len(rows), fraction)
        steps = [
            schedule.count_local_steps(training, n) if i in asked else 0 for i, n in enumerate(rows)
        ]
        assert [turns[r - 1].steps for turns in alone] == steps
        assert pooled[r - 1].steps == sum(steps)
        for turn in (pooled[r - 1], *(turns[r - 1] for turns in alone)):
            assert turn.learning_rate == schedule.compute_learning_rate(training, r, rounds)
            assert len(turn.row_indices) == turn.steps * chosen["per_device_train_batch_size"]
        theirs = [
            sum(rows[:i]) + row for i, turns in enumerate(alone) for row in turns[r - 1].row_indices
        ]
        assert Counter(pooled[r - 1].row_indices) == Counter(
            theirs
        )  # so there are as many tokens, too


def test_a_client_alone_walks_through_its_rows_as_in_the_federation():
    config, rows = configuration(fraction_train=0.5, rounds=9), [20, 9, 14, 30]
    for client, held in enumerate(rows):
        for turn in Baseline.from_name(f"local_{client}", config).iterate_rounds(rows):
            start = 8 * schedule.rounds_participated(7, client, turn.round, len(rows), 0.5)
            assert turn.row_indices == schedule.select_examples(
                7, client, held, start, len(turn.row_indices)
            )


@pytest.fixture(scope="module")
def files(tiny_model, tmp_path_factory):
    """What fetch_model, partition and preprocess would have made."""
    home = tmp_path_factory.mktemp("baselines")
    tokenizer = load_tokenizer(tiny_model)
    counts = []
    (home / "preprocessed").mkdir()
    for i in range(CLIENTS):
        pairs = [
            encode_example(
                tokenizer, render_prompt(tokenizer, f"{i} says {k}"), "yes" if k % 2 else "no"
            )
            for k in range(8 + 4 * i)
        ]
        integers = pa.list_(pa.int32())
        table = pa.table(
            {
                "input_ids": pa.array([ids for ids, _ in pairs], integers),
                "labels": pa.array([labels for _, labels in pairs], integers),
            }
        )
        path = home / f"preprocessed/client_{i}.arrow"
        with pa.ipc.new_stream(str(path), table.schema) as stream:
            stream.write_table(table)
        counts.append({"rows": len(pairs), "packed": None, "sha256": compute_file_sha256(path)})
    write_json(home / "preprocessed/manifest.json", {"clients": counts})
    names = [{"name": f"lab {i}"} for i in range(CLIENTS)]
    write_json(home / "partition/manifest.json", {"clients": names})
    shutil.copytree(tiny_model, home / "tiny")
    write_json(home / "tiny/provenance.json", {"source": {"kind": "path"}, "files": {}})
    return {
        "model": home / "tiny",
        "partition": home / "partition",
        "preprocessed": home / "preprocessed",
    }


def outputs(to):
    return {"history": to / "history.json", "checkpoints": to / "checkpoints"}


def trained(name, config, files, to):
    """Trains a control; its history, and the bytes of its adapter."""
    train_baseline(
        Baseline.from_name(name, config), **files, adapter_dir=to / "adapter", **outputs(to)
    )
    adapter = (to / "adapter/adapter_model.safetensors").read_bytes()
    return read_json(to / "history.json"), adapter


def timeless(history):
    rounds = [{k: v for k, v in record.items() if k != "seconds"} for record in history["rounds"]]
    return history | {"rounds": rounds}


@pytest.fixture(scope="module")
def centralised(files, tmp_path_factory):
    """An undisturbed run, with an optimizer that goes on from round to round."""
    config = configuration({"optimizer_state": "kept"})
    to = tmp_path_factory.mktemp("centralised")
    return config, to, *trained("centralised", config, files, to)


def test_a_control_learns_and_says_what_it_did(centralised):
    _, _, history, _ = centralised
    assert (history["clients"], history["rank"]) == (["lab 0", "lab 1", "lab 2"], 4)
    assert [record["round"] for record in history["rounds"]] == [1, 2, 3]
    assert [record["steps"] for record in history["rounds"]] == [6, 6, 6]
    assert [record["examples"] for record in history["rounds"]] == [24, 24, 24]
    losses = [record["train_loss"] for record in history["rounds"]]
    assert losses[2] < losses[0] / 2
    assert all(record["tokens"] > 0 and record["seconds"] > 0 for record in history["rounds"])


def test_after_a_lost_round_the_adapter_has_the_same_bytes(centralised, files, tmp_path, capsys):
    config, to, history, adapter = centralised
    shutil.copytree(to / "checkpoints", tmp_path / "checkpoints")
    [last] = (tmp_path / "checkpoints").glob("*/round-00003")
    shutil.rmtree(last)
    again, same = trained("centralised", config, files, tmp_path)
    assert same == adapter
    assert timeless(again) == timeless(history)
    assert again["rounds"][:2] == history["rounds"][:2]  # with their times: not trained again
    said = capsys.readouterr().out
    assert "round 3/3" in said
    assert "round 2/3" not in said


def test_a_killed_step_goes_on_to_the_same_bytes(centralised, files, tmp_path):
    config, _, history, adapter = centralised
    given = {**files, "adapter": tmp_path / "adapter", **outputs(tmp_path)}
    command = [sys.executable, ROOT / "workflow_scripts/train_baseline.py", "--name", "centralised"]
    command += ["--config", json.dumps(config)]
    command += [str(word) for key, path in given.items() for word in (f"--{key}", path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while not list(tmp_path.glob("checkpoints/*/round-00001")) and time.monotonic() < end:
            assert process.poll() is None
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "history.json").exists()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "round 1/3" not in done.stdout
    assert (tmp_path / "adapter/adapter_model.safetensors").read_bytes() == adapter
    assert timeless(read_json(tmp_path / "history.json")) == timeless(history)


def test_a_client_alone_has_its_own_rank(files, tmp_path):
    config = configuration(lora={"ranks": [4, 2, 1]}, rounds=1)
    history, _ = trained("local_1", config, files, tmp_path)
    assert (history["clients"], history["rank"]) == (["lab 1"], 2)
    state = safetensors.torch.load_file(tmp_path / "adapter/adapter_model.safetensors")
    assert {v.shape[0] for name, v in state.items() if name.endswith("lora_A.weight")} == {2}
    assert read_json(tmp_path / "adapter/adapter_config.json")["r"] == 2


def test_a_client_that_is_never_asked_stays_as_it_began(files, tmp_path):
    config = configuration(rounds=1, fraction_train=0.3)
    [asked] = schedule.sample_clients(7, 1, CLIENTS, 0.3)
    history, _ = trained(f"local_{(asked + 1) % CLIENTS}", config, files, tmp_path)
    [record] = history["rounds"]
    assert (record["steps"], record["examples"], record["train_loss"]) == (0, 0, None)
    state = safetensors.torch.load_file(tmp_path / "adapter/adapter_model.safetensors")
    assert all(not v.any() for name, v in state.items() if name.endswith("lora_B.weight"))


def test_another_control_takes_no_checkpoint_of_this_one(centralised, files, tmp_path, capsys):
    config, to, _, _ = centralised
    shutil.copytree(to / "checkpoints", tmp_path / "checkpoints")
    trained("local_0", config, files, tmp_path)
    assert "round 1/3" in capsys.readouterr().out


def test_with_one_learning_rate_more_rounds_go_on(files, tmp_path, capsys):
    level = {"learning_rate_min": 1e-2, "learning_rate_max": 1e-2}
    for rounds in (1, 2):
        config = configuration() | {"rounds": rounds}
        config["training"] |= level
        trained("local_0", config, files, tmp_path / str(rounds))
        shutil.copytree(tmp_path / "1/checkpoints", tmp_path / "2/checkpoints", dirs_exist_ok=True)
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in said if line.startswith("round")] == [
        "round 1/1",
        "round 2/2",
    ]
