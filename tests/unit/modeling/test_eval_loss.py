"""Tests of the loss on held-out rows."""

import pytest
import torch
from tiny_architectures import build_text_model

from blossomtune.modeling import eval_loss
from blossomtune.modeling.encoding import IGNORE_INDEX
from blossomtune.modeling.loss import collate, completion_nll

LENGTHS = [4, 5, 5, 9, 12, 40]


def test_batches_are_limited_by_tokens_and_have_the_loss_of_single_rows(monkeypatch):
    model = build_text_model("llama")
    rows = []
    for i, length in enumerate(LENGTHS):
        ids = list(range(10 * i, 10 * i + length))
        rows.append({"input_ids": ids, "labels": [IGNORE_INDEX] * 2 + ids[2:]})
    with torch.inference_mode():
        results = [completion_nll(model, collate([row])) for row in rows]
    expected = sum(float(nll) for nll, _ in results) / sum(int(n) for _, n in results)
    shapes = []
    model.model.embed_tokens.register_forward_pre_hook(
        lambda _, inputs: shapes.append(tuple(inputs[0].shape))
    )
    monkeypatch.setattr("blossomtune.modeling.batches.MAX_BATCH_TOKENS", 24)
    monkeypatch.setattr(eval_loss.prefix_sharing, "is_supported", lambda _: False)
    assert eval_loss.compute_eval_loss(model, rows) == pytest.approx(expected, rel=1e-5)
    assert shapes == [(3, 5), (2, 12), (1, 40)]
