"""Rows, configs and reference implementations for tests of local training."""

from contextlib import contextmanager

import torch
from chat_examples import encode_example, render_prompt
from datasets import Dataset

from blossomtune.config.lora import LoraSettings
from blossomtune.modeling.encoding import IGNORE_INDEX
from blossomtune.training.adapter import get_trainable_parameters
from blossomtune.training.sft_config import build_sft_config

LORA = LoraSettings(r=4, alpha=8)
PLAIN_SGD = {"optim": "sgd", "max_grad_norm": 0.0}
TEXTS = ["good", "bad", "a good one", "a bad one", "fine", "awful", "very good", "very bad"]


def encode_texts(tokenizer):
    """Return a dataset in which the answer to each text is ``yes``."""
    pairs = [encode_example(tokenizer, render_prompt(tokenizer, text), "yes") for text in TEXTS]
    return Dataset.from_list([{"input_ids": ids, "labels": labels} for ids, labels in pairs])


def build_config(output_dir, steps=4, **arguments):
    """Return a config for the CPU, with batches of 2 rows by default."""
    arguments = {"per_device_train_batch_size": 2} | arguments
    return build_sft_config(
        arguments,
        learning_rate=1e-2,
        max_steps=steps,
        seed=3,
        use_cpu=True,
        output_dir=output_dir,
    )


def reference_loss(model, rows):
    """Return the mean loss over the labelled tokens of rows, each read by itself."""
    losses = [
        torch.nn.functional.cross_entropy(
            model(torch.tensor([row["input_ids"]])).logits[0, :-1],
            torch.tensor(row["labels"][1:]),
            ignore_index=IGNORE_INDEX,
            reduction="sum",
        )
        for row in rows
    ]
    tokens = sum(label != IGNORE_INDEX for row in rows for label in row["labels"])
    return sum(losses) / tokens


def reference_training(model, rows, steps, update, mu=0.0):
    """Train without a trainer and return the mean loss.

    ``update(name, parameter, gradient, step)`` returns the parameter after a step.
    """
    model.train()
    parameters = get_trainable_parameters(model)
    start = {name: p.detach().clone() for name, p in parameters.items()}
    size, losses = len(rows) // steps, []
    for t in range(steps):
        loss = reference_loss(model, rows.select(range(t * size, (t + 1) * size)))
        losses.append(float(loss.detach()))
        if mu:
            distances = [(p - start[n]).pow(2).sum() for n, p in parameters.items()]
            loss = loss + mu / 2 * sum(distances)
        gradients = torch.autograd.grad(loss, parameters.values())
        with torch.no_grad():
            for (name, p), gradient in zip(parameters.items(), gradients, strict=True):
                p.copy_(update(name, p, gradient, t))
    return sum(losses) / steps


def assert_states_close(state, expected):
    """Compare tensors by name, within the precision of float32."""
    for name, value in expected.items():
        assert torch.allclose(state[name], value, rtol=1e-3, atol=2e-5), name


def assert_states_equal(state, expected):
    """Compare tensors by name, bit by bit."""
    assert all(torch.equal(state[name], value) for name, value in expected.items())


@contextmanager
def record_forward(model):
    """Record the first layer's passes, output dtype and shapes, and sums of its inputs."""
    record = {"passes": 0, "dtype": None, "sums": [], "shapes": []}
    inner = model.get_base_model().model

    def after_projection(module, inputs, output):
        record["passes"] += 1
        record["dtype"] = output.dtype
        record["shapes"].append(tuple(output.shape[:2]))

    def before_layer(module, inputs):
        record["sums"].append(float(inputs[0].detach().abs().sum()))

    handles = [
        inner.layers[0].self_attn.q_proj.register_forward_hook(after_projection),
        inner.layers[0].register_forward_pre_hook(before_layer),
    ]
    yield record
    for handle in handles:
        handle.remove()


TRAINER_OPTIONS = {
    "plain": {},
    "checkpointing": {"gradient_checkpointing": True},
    "bf16": {"bf16": True},
    "neftune": {"neftune_noise_alpha": 5.0},
    "all": {"gradient_checkpointing": True, "bf16": True, "neftune_noise_alpha": 5.0},
}
"""Arguments that make a trainer wrap the model or add hooks."""
