from functools import partial

import pytest
import torch
from datasets import Dataset

from blossomtune.config.experiments import Lora
from blossomtune.encoding import IGNORED, encode, load_tokenizer, prompt_text
from blossomtune.errors import UserError
from blossomtune.federation import adapter
from blossomtune.federation.trainer import CompletionTrainer, arguments, train
from blossomtune.modeling import collate, load_model

TEXTS = ["good", "bad", "a good one", "a bad one", "fine", "awful", "very good", "very bad"]


@pytest.fixture
def setting(tiny_model):
    tokenizer = load_tokenizer(tiny_model)
    pairs = [encode(tokenizer, prompt_text(tokenizer, text), "yes") for text in TEXTS]
    rows = [{"input_ids": ids, "labels": labels} for ids, labels in pairs]
    model = adapter.attach(load_model(tiny_model), Lora(r=4, alpha=8), seed=1)
    return model, tokenizer, Dataset.from_list(rows)


def config(tmp_path, steps=4, **chosen):
    chosen = {"per_device_train_batch_size": 2} | chosen
    return arguments(chosen, learning_rate=1e-2, steps=steps, seed=3, cpu=True, to=tmp_path)


def test_training_lowers_the_loss_and_counts_what_it_saw(setting, tmp_path):
    model, tokenizer, rows = setting
    losses = []
    for _ in range(3):
        loss, seen = train(model, tokenizer, rows, config(tmp_path))
        losses.append(loss)
    assert losses[2] < losses[0] / 2
    tokens = sum(len(ids) for ids in rows["input_ids"])
    assert seen == {"examples": 8, "tokens": tokens, "steps": 4}


def test_only_the_completion_is_learnt(setting, tmp_path):
    """The loss of one step without change is the plain model's loss on the labelled tokens."""
    model, tokenizer, rows = setting
    plain = [
        torch.nn.functional.cross_entropy(
            model(torch.tensor([row["input_ids"]])).logits[0, :-1],
            torch.tensor(row["labels"][1:]),
            ignore_index=IGNORED,
            reduction="sum",
        )
        for row in rows.select([0, 1])
    ]
    tokens = sum(label != IGNORED for row in rows.select([0, 1]) for label in row["labels"])
    loss, _ = train(model, tokenizer, rows.select([0, 1]), config(tmp_path, steps=1))
    assert loss == pytest.approx(float(sum(plain).detach()) / tokens, rel=1e-4)


def test_accumulated_batches_make_the_same_step_as_one_batch(setting, tiny_model, tmp_path):
    _, tokenizer, rows = setting
    results = []
    for chosen in (
        {"per_device_train_batch_size": 8},
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
    ):
        model = adapter.attach(load_model(tiny_model), Lora(r=4, alpha=8), seed=1)
        train(model, tokenizer, rows, config(tmp_path, steps=1, **chosen))
        results.append(adapter.read(model))
    for name, value in results[0].items():
        assert torch.allclose(value, results[1][name], atol=1e-4), name


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
        data_collator=partial(collate, pad=0),
    )
    trainer.train()
    assert seen == list(range(10, 18))


def test_training_twice_from_the_same_start_is_the_same_to_the_bit(setting, tmp_path):
    model, tokenizer, rows = setting
    start = adapter.read(model)
    results = []
    for _ in range(2):
        adapter.write(model, start)
        train(model, tokenizer, rows, config(tmp_path))
        results.append(adapter.read(model))
    assert all(torch.equal(results[0][name], results[1][name]) for name in start)


def test_rounds_leave_nothing_wrapped_around_the_model(setting, tmp_path):
    model, tokenizer, rows = setting
    for _ in range(2):
        train(model, tokenizer, rows, config(tmp_path, steps=1))
    assert "forward" not in vars(model.get_base_model())


def test_sftconfig_has_the_last_word_on_values(tmp_path):
    with pytest.raises(UserError, match=r"training\.arguments"):
        config(tmp_path, optim="no_such_optimizer")
