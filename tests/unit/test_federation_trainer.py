import json
import os
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

from blossomtune.config.lora import LoraSettings
from blossomtune.errors import UserError
from blossomtune.modeling.chat_template import render_prompt
from blossomtune.modeling.encoding import IGNORE_INDEX, encode_example
from blossomtune.modeling.load import load_model
from blossomtune.modeling.loss import collate
from blossomtune.modeling.prefix_sharing import is_supported
from blossomtune.modeling.tokenizer import load_tokenizer
from blossomtune.training import adapter
from blossomtune.training.sft_config import build_sft_config
from blossomtune.training.trainer import (
    CompletionTrainer,
    LocalObjective,
    get_trainable_parameters,
    train_adapter,
)

TEXTS = ["good", "bad", "a good one", "a bad one", "fine", "awful", "very good", "very bad"]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """As a client has it; two wait for one another as soon as anything else wants a core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def setting(tiny_model):
    tokenizer = load_tokenizer(tiny_model)
    pairs = [encode_example(tokenizer, render_prompt(tokenizer, text), "yes") for text in TEXTS]
    rows = [{"input_ids": ids, "labels": labels} for ids, labels in pairs]
    model = adapter.build_peft_model(load_model(tiny_model), LoraSettings(r=4, alpha=8), seed=1)
    return model, tokenizer, Dataset.from_list(rows)


def config(tmp_path, steps=4, **chosen):
    chosen = {"per_device_train_batch_size": 2} | chosen
    return build_sft_config(
        chosen, learning_rate=1e-2, max_steps=steps, seed=3, use_cpu=True, output_dir=tmp_path
    )


def test_training_lowers_the_loss_and_counts_what_it_saw(setting, tmp_path):
    model, tokenizer, rows = setting
    losses = []
    for _ in range(3):
        done = train_adapter(model, tokenizer, rows, config(tmp_path))
        losses.append(done.loss)
    assert losses[2] < losses[0] / 2
    tokens = sum(len(ids) for ids in rows["input_ids"])
    assert done.counts == {"examples": 8, "tokens": tokens, "steps": 4}
    assert done.batch_size == 2 and done.optimizer_state == {}


def test_only_the_completion_is_learnt(setting, tmp_path):
    """The loss of one step without change is the plain model's loss on the labelled tokens."""
    model, tokenizer, rows = setting
    plain = [
        torch.nn.functional.cross_entropy(
            model(torch.tensor([row["input_ids"]])).logits[0, :-1],
            torch.tensor(row["labels"][1:]),
            ignore_index=IGNORE_INDEX,
            reduction="sum",
        )
        for row in rows.select([0, 1])
    ]
    tokens = sum(label != IGNORE_INDEX for row in rows.select([0, 1]) for label in row["labels"])
    loss = train_adapter(model, tokenizer, rows.select([0, 1]), config(tmp_path, steps=1)).loss
    assert loss == pytest.approx(float(sum(plain).detach()) / tokens, rel=1e-4)


def test_accumulated_batches_make_the_same_step_as_one_batch(setting, tiny_model, tmp_path):
    _, tokenizer, rows = setting
    results = []
    for chosen in (
        {"per_device_train_batch_size": 8},
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
    ):
        model = adapter.build_peft_model(load_model(tiny_model), LoraSettings(r=4, alpha=8), seed=1)
        train_adapter(model, tokenizer, rows, config(tmp_path, steps=1, **chosen))
        results.append(adapter.get_adapter_state(model))
    for name, value in results[0].items():
        assert torch.allclose(value, results[1][name], atol=1e-4), name


def test_rows_that_begin_alike_train_as_they_do_side_by_side(setting, tmp_path, monkeypatch):
    model, tokenizer, rows = setting
    start, shapes, ends = adapter.get_adapter_state(model), [], []
    for shares in (True, False):
        adapter.set_adapter_state(model, start)
        with monkeypatch.context() as patch, watched(model) as seen:
            patch.setattr(
                "blossomtune.modeling.prefix_sharing.is_supported", lambda _, shares=shares: shares
            )
            done = train_adapter(model, tokenizer, rows, config(tmp_path, **PLAIN))
        shapes.append(seen["shapes"])
        ends.append(adapter.get_adapter_state(model) | {"loss": torch.tensor(done.loss)})
        assert done.counts["examples"] == 8
    assert [b for b, _ in shapes[0]] == [1] * 4 and [b for b, _ in shapes[1]] == [2] * 4
    close(ends[0], ends[1])
    adapter.set_adapter_state(model, start)
    with watched(model) as seen:
        train_adapter(model, tokenizer, rows, config(tmp_path, neftune_noise_alpha=5.0))
    assert seen["shapes"] == shapes[1]  # noise of its own for each row


def test_experts_train_without_a_loss_of_their_own(setting, tmp_path):
    _, tokenizer, rows = setting
    torch.manual_seed(0)
    small = {"hidden_size": 32, "intermediate_size": 64, "moe_intermediate_size": 16}
    small |= {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    experts = Qwen3MoeConfig(
        vocab_size=len(tokenizer), head_dim=8, num_experts=4, num_experts_per_tok=2, **small
    )
    lora = LoraSettings(r=4, target_modules=["q_proj", "v_proj"])
    model = adapter.build_peft_model(Qwen3MoeForCausalLM(experts), lora, seed=1)
    plain = float(loss_by_hand(model, rows.select([0, 1])).detach())
    assert train_adapter(model, tokenizer, rows, config(tmp_path, steps=1)).loss == pytest.approx(
        plain
    )


def test_rows_are_taken_in_the_order_given(setting, tmp_path):
    model, tokenizer, rows = setting
    seen = []

    class Watched(CompletionTrainer):
        def compute_loss(self, model, inputs, *args, **kwargs):
            seen.extend(inputs["input_ids"][:, -1].tolist())
            return super().compute_loss(model, inputs, *args, **kwargs)

    marked = rows.map(
        lambda row, i: {"input_ids": [*row["input_ids"][:-1], 10 + i]}, with_indices=True
    )

    trainer = Watched(
        model=model,
        args=config(tmp_path),
        train_dataset=marked,
        processing_class=tokenizer,
        data_collator=partial(collate, pad_token_id=0),
    )
    trainer.train()
    assert seen == list(range(10, 18))


def test_training_twice_from_the_same_start_is_the_same_to_the_bit(setting, tmp_path):
    model, tokenizer, rows = setting
    start = adapter.get_adapter_state(model)
    results = []
    for _ in range(2):
        adapter.set_adapter_state(model, start)
        train_adapter(model, tokenizer, rows, config(tmp_path))
        results.append(adapter.get_adapter_state(model))
    assert all(torch.equal(results[0][name], results[1][name]) for name in start)


def loss_by_hand(model, rows):
    """Mean over the labelled tokens of some rows, each read by itself."""
    each = [
        torch.nn.functional.cross_entropy(
            model(torch.tensor([row["input_ids"]])).logits[0, :-1],
            torch.tensor(row["labels"][1:]),
            ignore_index=IGNORE_INDEX,
            reduction="sum",
        )
        for row in rows
    ]
    tokens = sum(label != IGNORE_INDEX for row in rows for label in row["labels"])
    return sum(each) / tokens


def by_hand(model, rows, steps, move, mu=0.0):
    """Plain training; ``move(name, parameter, gradient, t)`` gives the parameter after a step."""
    model.train()
    living = get_trainable_parameters(model)
    anchor = {name: p.detach().clone() for name, p in living.items()}
    size, losses = len(rows) // steps, []
    for t in range(steps):
        loss = loss_by_hand(model, rows.select(range(t * size, (t + 1) * size)))
        losses.append(float(loss.detach()))
        if mu:
            loss = loss + mu / 2 * sum((p - anchor[n]).pow(2).sum() for n, p in living.items())
        gradients = torch.autograd.grad(loss, living.values())
        with torch.no_grad():
            for (name, p), gradient in zip(living.items(), gradients, strict=True):
                p.copy_(move(name, p, gradient, t))
    return sum(losses) / steps


def close(state, expected):
    for name, value in expected.items():
        assert torch.allclose(state[name], value, rtol=1e-3, atol=2e-5), name


def same(state, expected):
    assert all(torch.equal(state[name], value) for name, value in expected.items())


PLAIN = {"optim": "sgd", "max_grad_norm": 0.0}


@pytest.mark.parametrize("batch", [4, 2, 1])
def test_fedprox_is_the_gradient_of_its_loss_once_a_step(setting, tmp_path, batch):
    model, tokenizer, rows = setting
    start, mu, rate = adapter.get_adapter_state(model), 30.0, 1e-2
    many = rows.select([*range(8)] * 2)
    expected = by_hand(model, many, 4, lambda _, p, g, t: p - rate * g, mu=mu)
    by_paper = adapter.get_adapter_state(model)
    chosen = PLAIN | {"per_device_train_batch_size": batch}
    adapter.set_adapter_state(model, start)
    done = train_adapter(
        model,
        tokenizer,
        many,
        config(tmp_path, **chosen, gradient_accumulation_steps=4 // batch),
        LocalObjective(proximal_mu=mu),
    )
    close(adapter.get_adapter_state(model), by_paper)
    assert done.loss == pytest.approx(expected, rel=1e-3)  # without the term


def test_fedprox_keeps_an_adapter_near_its_start(setting, tmp_path):
    model, tokenizer, rows = setting
    start, far = adapter.get_adapter_state(model), []
    for mu in (0.0, 1.0, 100.0):
        adapter.set_adapter_state(model, start)
        train_adapter(
            model, tokenizer, rows, config(tmp_path, optim="sgd"), LocalObjective(proximal_mu=mu)
        )
        end = adapter.get_adapter_state(model)
        far.append(sum(float((end[n] - start[n]).square().sum()) for n in start))
    assert far[0] > far[1] > far[2] > 0


def test_scaffold_corrects_each_step(setting, tmp_path):
    model, tokenizer, rows = setting
    start, rate = adapter.get_adapter_state(model), 1e-2
    generator = torch.Generator().manual_seed(0)
    shift = {n: torch.randn(v.shape, generator=generator) for n, v in start.items()}
    by_hand(model, rows, 4, lambda name, p, g, t: p - rate * (g + shift[name]))
    by_paper = adapter.get_adapter_state(model)
    adapter.set_adapter_state(model, start)
    train_adapter(
        model, tokenizer, rows, config(tmp_path, **PLAIN), LocalObjective(scaffold_correction=shift)
    )
    close(adapter.get_adapter_state(model), by_paper)


def test_scaffold_moves_the_trained_factor_only(setting, tmp_path):
    model, tokenizer, rows = setting
    adapter.set_trainable_factor(model, "B")
    start = adapter.get_adapter_state(model)
    shift = {
        name: torch.ones_like(value) for name, value in adapter.select_factor(start, "B").items()
    }
    train_adapter(
        model,
        tokenizer,
        rows,
        config(tmp_path),
        LocalObjective(proximal_mu=0.1, scaffold_correction=shift),
    )
    end = adapter.get_adapter_state(model)
    same(end, adapter.select_factor(start, "A"))
    assert all(not torch.equal(end[name], start[name]) for name in shift)


@pytest.mark.parametrize("chosen", [{}, {"adam_beta2": 0.5, "adam_epsilon": 0.1}])
def test_adopt_is_really_what_trains(setting, tmp_path, chosen):
    model, tokenizer, rows = setting
    start, rate, m, v = adapter.get_adapter_state(model), 1e-2, {}, {}
    beta2, eps = chosen.get("adam_beta2", 0.9999), chosen.get("adam_epsilon", 1e-6)

    def move(name, p, g, t):
        if t == 0:
            m[name], v[name] = torch.zeros_like(g), g**2
            return p
        normed = torch.clamp(g / torch.clamp(v[name].sqrt(), min=eps), -(t**0.25), t**0.25)
        m[name] = 0.9 * m[name] + 0.1 * normed
        v[name] = beta2 * v[name] + (1 - beta2) * g**2
        return p - rate * (m[name] + 0.1 * p)

    by_hand(model, rows, 4, move)
    by_paper = adapter.get_adapter_state(model)
    adapter.set_adapter_state(model, start)
    asked = chosen | {"optim": "adopt", "weight_decay": 0.1, "max_grad_norm": 0.0}
    train_adapter(model, tokenizer, rows, config(tmp_path, **asked))
    end = adapter.get_adapter_state(model)
    # where a gradient is near zero, its sign is a matter of rounding; so by norm
    for name, value in by_paper.items():
        assert (end[name] - value).norm() < 0.05 * (value - start[name]).norm(), name


@pytest.mark.parametrize("optim", ["adamw_torch", "adamw_torch_fused", "adopt", "adafactor"])
def test_two_rounds_with_the_state_kept_are_one_long_round(setting, tmp_path, optim):
    model, tokenizer, rows = setting
    many = rows.select([*range(8)] * 2 + [*range(4)])
    start, ends = adapter.get_adapter_state(model), []
    for length in (10, 5):
        adapter.set_adapter_state(model, start)
        kept = None
        for first in range(0, 20, 2 * length):
            part = many.select(range(first, first + 2 * length))
            asked = config(tmp_path, steps=length, optim=optim)
            kept = train_adapter(
                model,
                tokenizer,
                part,
                asked,
                LocalObjective(optimizer_state=kept, return_optimizer_state=True),
            ).optimizer_state
        ends.append(adapter.get_adapter_state(model) | kept)
    same(ends[0], ends[1])
    assert ends[0].keys() == ends[1].keys() > start.keys()
    assert any(key.startswith("step/") and value == 10 for key, value in kept.items())


def test_a_batch_adapts_to_memory_and_the_round_stays_what_it_means(tiny_model, tmp_path):
    script, paths = Path(__file__).with_name("memory_limited.py"), os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, script, tiny_model, tmp_path],
        env=os.environ | {"PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["batch_size"] in (1, 2, 3, 6)
    assert found["is_same"] and found["is_trained"] and found["is_state_intact"]
    assert found["counts"] == found["direct_counts"]
    assert (
        found["counts"]["examples"] == 36 and found["counts"]["steps"] == 2
    )  # packed: 12 + 2 * 12
    assert "out of memory with 12 examples at a time" in found["message"]


def hooks(model):
    return {name: len(m._forward_hooks) for name, m in model.named_modules() if m._forward_hooks}


def wrapped(model):
    return [name for name, m in model.named_modules() if "forward" in vars(m)]


KINDS = {
    "plain": {},
    "checkpointing": {"gradient_checkpointing": True},
    "bf16": {"bf16": True},
    "neftune": {"neftune_noise_alpha": 5.0},
    "all": {"gradient_checkpointing": True, "bf16": True, "neftune_noise_alpha": 5.0},
}


@pytest.mark.parametrize("chosen", KINDS.values(), ids=KINDS)
def test_rounds_are_the_same_to_the_bit_and_leave_nothing_around_the_model(
    setting, tmp_path, chosen
):
    model, tokenizer, rows = setting
    start, results = adapter.get_adapter_state(model), []
    before = hooks(model), wrapped(model)
    for _ in range(2):
        adapter.set_adapter_state(model, start)
        loss = train_adapter(model, tokenizer, rows, config(tmp_path, **chosen)).loss
        results.append(adapter.get_adapter_state(model) | {"loss": torch.tensor(loss)})
        assert (hooks(model), wrapped(model)) == before
    same(*results)
    broken = rows.map(lambda row: {"input_ids": [10**6] * len(row["input_ids"])})
    with pytest.raises(IndexError):
        train_adapter(model, tokenizer, broken, config(tmp_path, **chosen))
    assert (hooks(model), wrapped(model)) == before


@contextmanager
def watched(model):
    """Counts passes through the first layer; notes outputs' types and shapes, and inputs' sums."""
    seen = {"passes": 0, "type": None, "sums": [], "shapes": []}
    inner = model.get_base_model().model

    def projected(module, inputs, output):
        seen["passes"] += 1
        seen["type"] = output.dtype
        seen["shapes"].append(tuple(output.shape[:2]))

    def embedded(module, inputs):
        seen["sums"].append(float(inputs[0].detach().abs().sum()))

    handles = [
        inner.layers[0].self_attn.q_proj.register_forward_hook(projected),
        inner.layers[0].register_forward_pre_hook(embedded),
    ]
    yield seen
    for handle in handles:
        handle.remove()


def test_what_checkpointing_bf16_and_neftune_do(setting, tmp_path):
    model, tokenizer, rows = setting
    start, ends, losses, seen = adapter.get_adapter_state(model), {}, {}, {}
    assert is_supported(model)  # tried once, with passes of its own
    for kind, chosen in KINDS.items():
        adapter.set_adapter_state(model, start)
        with watched(model) as seen[kind]:
            losses[kind] = train_adapter(model, tokenizer, rows, config(tmp_path, **chosen)).loss
        ends[kind] = adapter.get_adapter_state(model)
        assert all(p.dtype == torch.float32 for p in get_trainable_parameters(model).values())
    assert seen["plain"]["passes"] == 4 and seen["checkpointing"]["passes"] == 8
    same(ends["checkpointing"], ends["plain"])
    assert losses["checkpointing"] == losses["plain"]
    assert seen["plain"]["type"] == torch.float32 and seen["bf16"]["type"] == torch.bfloat16
    assert losses["bf16"] != losses["plain"]
    assert losses["bf16"] == pytest.approx(losses["plain"], rel=0.05)
    assert losses["neftune"] != losses["plain"]
    assert all(a != b for a, b in zip(seen["neftune"]["sums"], seen["plain"]["sums"], strict=True))


@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
@pytest.mark.parametrize("chosen", [{}, {"bf16": True, "gradient_checkpointing": True}])
def test_a_quantised_base_trains_an_adapter_in_float32(tiny_model, tmp_path, quantization, chosen):
    tokenizer = load_tokenizer(tiny_model)
    pairs = [encode_example(tokenizer, render_prompt(tokenizer, text), "yes") for text in TEXTS]
    rows = Dataset.from_list([{"input_ids": ids, "labels": marked} for ids, marked in pairs])
    plain = float(loss_by_hand(load_model(tiny_model), rows).detach())
    base = load_model(tiny_model, quantization=quantization)
    rounded = float(loss_by_hand(base, rows).detach())
    assert rounded != plain and rounded == pytest.approx(plain, rel=0.2)
    # on a CPU, peft and bitsandbytes together lose an 8-bit layer's scales with DoRA
    model = adapter.build_peft_model(
        base, LoraSettings(r=4, alpha=8, dora=quantization == "4bit"), seed=1
    )
    frozen = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
    assert any(p.dtype not in (torch.float32, torch.bfloat16) for p in frozen.values())

    still = config(tmp_path, **chosen)
    still.learning_rate = 0.0
    start = {name: value + 1e-3 for name, value in adapter.get_adapter_state(model).items()}
    adapter.set_adapter_state(model, start)
    train_adapter(model, tokenizer, rows, still)
    same(adapter.get_adapter_state(model), start)  # not rounded on the way

    losses = [
        train_adapter(model, tokenizer, rows, config(tmp_path, **chosen)).loss for _ in range(3)
    ]
    assert losses[2] < losses[0] / 2
    same(dict(model.named_parameters()), frozen)


def test_sftconfig_has_the_last_word_on_values(tmp_path):
    with pytest.raises(UserError, match=r"training\.arguments"):
        config(tmp_path, optim="no_such_optimizer")


def test_a_step_means_the_same_rows_on_a_machine_of_several_gpus(monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    config = build_sft_config(
        {}, learning_rate=1e-2, max_steps=1, seed=3, use_cpu=False, output_dir=tmp_path
    )
    assert config.train_batch_size == config.per_device_train_batch_size
