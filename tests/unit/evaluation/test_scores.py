"""Tests of a model's scores per row."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from chat_examples import encode_example
from evaluation_samples import CHOICES, SETTINGS, load_rows

from blossomtune.evaluation.choices import RowChoices
from blossomtune.evaluation.rows import EvaluationRow
from blossomtune.evaluation.scores import score_rows
from blossomtune.evaluation.stored_model import StoredModel
from blossomtune.modeling.chat_template import ChatTemplate, detect_turn_format
from blossomtune.modeling.load import load_model
from blossomtune.modeling.tokenizer import load_tokenizer


def score(directory, rows, settings=SETTINGS):
    return score_rows(StoredModel(directory), rows, settings, "base", len(rows))


@torch.inference_mode()
def score_with_transformers(directory, prompt, completion):
    """Return a completion's likelihood and length, computed with transformers alone."""
    ids, labels = encode_example(load_tokenizer(directory), prompt, completion)
    loss = load_model(directory)(
        input_ids=torch.tensor([ids]), labels=torch.tensor([labels])
    ).loss.item()
    tokens = sum(label >= 0 for label in labels)
    return loss * tokens, tokens


def test_scores_equal_those_of_transformers(tiny_model, rows):
    scores = score(tiny_model, rows)
    for i, row in enumerate(rows):
        expected = [score_with_transformers(tiny_model, row.prompt, choice) for choice in CHOICES]
        nll, tokens = expected[CHOICES.index(row.completion)]
        assert scores.nll[i] == pytest.approx(nll, abs=1e-3)
        assert scores.tokens[i] == tokens
        assert scores.predicted[i] == int(np.argmin([value for value, _ in expected]))


def test_rows_can_have_their_own_choices(tiny_model, rows):
    sets = [CHOICES, ["negative", "very positive"], ["A", "B", "C", "D"]]
    rows = [
        replace(row, choices=RowChoices(sets[i % 3], i % 2), row=i) for i, row in enumerate(rows)
    ]
    rows[0] = replace(rows[0], choices=RowChoices(CHOICES, CHOICES.index(rows[0].completion)))
    scores = score(tiny_model, rows)
    for i, row in enumerate(rows):
        texts = row.choices.texts
        nll = [score_with_transformers(tiny_model, row.prompt, text)[0] for text in texts]
        assert scores.predicted[i] == np.argmin(nll)
        assert scores.predicted_norm[i] == np.argmin(np.divide(nll, [len(t) for t in texts]))
        expected = score_with_transformers(tiny_model, row.prompt, row.completion)
        assert (scores.nll[i], scores.tokens[i]) == pytest.approx(expected, abs=1e-3)


def test_batch_size_does_not_change_scores(tiny_model, rows):
    one = score(tiny_model, rows, SETTINGS | {"batch_size": 1})
    many = score(tiny_model, rows, SETTINGS | {"batch_size": 100})
    assert one.nll == pytest.approx(many.nll, abs=1e-4)
    assert (one.predicted == many.predicted).all()
    assert one.answers == many.answers


def test_pad_token_without_an_embedding_is_not_used(tiny_model, rows, tmp_path):
    model = shutil.copytree(tiny_model, tmp_path / "model")
    tokenizer = load_tokenizer(model)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    assert tokenizer.pad_token_id == load_model(model).config.vocab_size
    tokenizer.save_pretrained(model)
    expected = score(tiny_model, rows)
    assert score(model, rows).nll == pytest.approx(expected.nll, abs=1e-5)


def test_answers_are_those_of_transformers(tiny_model, held_out_files):
    tokenizer, model = load_tokenizer(tiny_model), load_model(tiny_model)
    settings = SETTINGS | {"choices": [], "by": None}
    first = load_rows(held_out_files(["hello", "world"], ["x", "y"]), settings).rows
    answers = []
    for row in first:
        ids = tokenizer(row.prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
        generated = model.generate(
            ids,
            max_new_tokens=5,
            do_sample=False,
            eos_token_id=detect_turn_format(ChatTemplate(tokenizer)).end_of_turn_id,
        )
        answers.append(tokenizer.decode(generated[0, ids.shape[1] :], skip_special_tokens=True))
    assert score(tiny_model, first, settings).answers == [text.strip() for text in answers]


def test_plain_text_is_scored_from_its_second_token_and_not_generated(tiny_model):
    ids = load_tokenizer(tiny_model)("a plain text")["input_ids"]
    row = EvaluationRow(
        prompt="", completion="a plain text", input_ids=tuple(ids), completion_start=1
    )
    scores = score(tiny_model, [row], SETTINGS | {"choices": [], "by": None})
    with torch.inference_mode():
        loss = load_model(tiny_model)(
            input_ids=torch.tensor([ids]), labels=torch.tensor([ids])
        ).loss.item()
    assert scores.tokens.tolist() == [len(ids) - 1]
    assert scores.nll[0] / scores.tokens[0] == pytest.approx(loss, abs=1e-4)
    assert scores.sampled_rows.size == 0
