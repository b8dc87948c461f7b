"""The comparison by a judge model, with a real server: ``transformers serve``."""

import os
import socket
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
import torch
from patience import PATIENCE
from transformers import AutoModelForCausalLM, AutoTokenizer

from blossomtune.artifacts.answers import Answer, AnswerRecord, write_answers
from blossomtune.artifacts.judge import JudgeResults
from blossomtune.config.judge import JudgeSettings
from blossomtune.files import read_json, write_json

SCRIPT = Path(__file__).parents[2] / "workflow_scripts/judge.py"
ROWS = 3


@pytest.fixture(scope="module")
def first_answer_model(tiny_model, tmp_path_factory):
    """Return a model that replies ``A`` to every prompt of the tiny model's chat template."""
    directory = tmp_path_factory.mktemp("judge") / "first"
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    tokens = [tokenizer.encode(text)[0] for text in ("\n", "A", "<|im_end|>")]
    with torch.no_grad():
        for layer in model.model.layers:  # each token depends on the one before it alone
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        for i, (before, after) in enumerate(pairwise(tokens)):
            model.model.embed_tokens.weight[before] = torch.eye(32)[i] * 9
            model.lm_head.weight[after] = torch.eye(32)[i] * 9
    model.config.max_position_embeddings = 4096
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


@pytest.fixture
def server(engine, first_answer_model, tmp_path):
    """Start the server; yield its address and its process."""
    engine("simulation")
    (tmp_path / "home/hub").mkdir(parents=True)  # without it, the list of models is an error
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [Path(sys.executable).with_name("transformers"), "serve", first_answer_model]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*map(str, command), "--dtype", "float32"],
            env=os.environ | environment,
            stdout=log,
            stderr=log,
        )
    try:
        _wait(f"http://127.0.0.1:{port}/health", process, tmp_path / "server.log")
        yield f"http://127.0.0.1:{port}/v1", process
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)


def _wait(url, process, log):
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(url, trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(1)
    raise AssertionError(log.read_text())


def run(tmp_path):
    arguments = ["--config", "judge.config.json", "--answers", "answers.jsonl"]
    arguments += ["--cache", "cache", "--output", "judge.json"]
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments], cwd=tmp_path, capture_output=True, text=True
    )


@pytest.mark.engine
def test_real_server_compares_answers_once(server, first_answer_model, tmp_path):
    url, process = server
    judge = JudgeSettings(base_url=url, model=str(first_answer_model), timeout=300)
    settings = {"judge": judge.model_dump(mode="json"), "bootstrap": 100, "seed": 1}
    write_json(tmp_path / "judge.config.json", settings)
    texts = [{"base": f"no {i}", "federated": f"yes {i}"} for i in range(ROWS)]
    write_answers(
        tmp_path / "answers.jsonl",
        [
            AnswerRecord(
                row=i,
                prompt=f"Question {i}?",
                references=["yes"],
                answers={name: Answer(text=text, scores={}) for name, text in row.items()},
            )
            for i, row in enumerate(texts)
        ],
    )
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr + (tmp_path / "server.log").read_text()
    results = JudgeResults.model_validate(read_json(tmp_path / "judge.json"))
    pair = results.pairs["base"]
    # the model prefers the first answer, whichever it is
    assert (pair.rows, pair.ties, pair.inconsistent, pair.unreadable) == (ROWS, ROWS, ROWS, 0)
    replies = [read_json(file)["choice"] for file in (tmp_path / "cache").iterdir()]
    assert replies == [{"text": "A", "finish_reason": "stop"}] * 2 * ROWS

    process.terminate()
    process.wait(timeout=PATIENCE)
    written = (tmp_path / "judge.json").read_bytes()
    again = run(tmp_path)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "judge.json").read_bytes() == written
