import io
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from blossomtune.chat.experiment import find_experiment
from blossomtune.chat.models import ChatModels
from blossomtune.errors import UserError
from blossomtune.modeling.chat_template import ChatTemplate
from blossomtune.modeling.tokenizer import load_tokenizer

SCRIPT = Path(__file__).parents[3] / "workflow_scripts/chat.py"
SYSTEM = {"role": "system", "content": "Answer briefly."}


@pytest.fixture(scope="module")
def answer(finished_run):
    """Return a function of a model's name and messages to transformers' own greedy answer."""
    directory = finished_run / "results/models/tiny"
    tokenizer = load_tokenizer(directory)
    base = AutoModelForCausalLM.from_pretrained(directory)
    adapter = finished_run / "results/experiments/first/adapter"
    other = AutoModelForCausalLM.from_pretrained(directory)
    models = {
        "base": base,
        "federated": PeftModel.from_pretrained(other, adapter).merge_and_unload(),
    }

    def generate(name, messages, max_new_tokens=12):
        inputs = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        ids = models[name].generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
        return tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

    return generate


@pytest.fixture
def build_models(finished_run, configuration):
    """Return a function of a number of tokens to the models of the finished experiment."""
    experiment = find_experiment(configuration, finished_run / "results", "first")
    template = ChatTemplate(load_tokenizer(experiment.model))
    return lambda max_new_tokens: ChatModels(experiment, template, max_new_tokens)


def clean(text):
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def test_script_answers_piped_turns_with_both_models(finished_run, answer):
    done = subprocess.run(
        [sys.executable, SCRIPT, "--experiment", "first"],
        input="Hello\n\nAgain\n/reset\nAgain\n/quit\nnot read\n",
        cwd=finished_run,
        text=True,
        encoding="utf-8",
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    expected, conversations = [], {"base": [SYSTEM], "federated": [SYSTEM]}
    for turn in ("Hello", "Again", None, "Again"):
        if turn is None:
            conversations = {"base": [SYSTEM], "federated": [SYSTEM]}
            expected.append("new conversation")
            continue
        for name, messages in conversations.items():
            messages.append({"role": "user", "content": turn})
            text = answer(name, messages)
            messages.append({"role": "assistant", "content": text.strip()})
            expected.append(f"{name}> {clean(text)}")
    assert done.stdout == "\n".join([*expected, ""])
    base, federated = expected[:2]
    assert base.partition("> ")[2] != federated.partition("> ")[2]
    assert "Traceback" not in done.stderr


def test_adapter_is_off_for_the_base_and_on_again_after_it(build_models, answer, capsys):
    models = build_models(12)
    template = models._template
    messages = [{"role": "user", "content": "Hello"}]
    prompt = template.tokenizer(template.render(messages, add_generation_prompt=True))["input_ids"]
    for name in ("base", "federated", "base"):
        assert models.print_answer(name, prompt) == answer(name, messages).strip()


def test_interrupt_ends_an_answer_and_keeps_its_start(build_models, monkeypatch):
    class InterruptedOutput(io.StringIO):
        writes = 0

        def write(self, text):
            self.writes += 1
            if self.writes == 40:
                raise KeyboardInterrupt
            return super().write(text)

    output = InterruptedOutput()
    monkeypatch.setattr(sys, "stdout", output)
    answer = build_models(900).print_answer("base", [1, 50, 60, 70])
    assert 0 < len(answer) <= 40
    assert output.getvalue().endswith("\n")
    assert torch.is_grad_enabled()


def test_too_long_conversation_is_an_error(build_models):
    with pytest.raises(UserError, match="1024 tokens; the conversation has 1013, and an"):
        build_models(12).print_answer("base", [5] * 1013)
