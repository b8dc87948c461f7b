"""Tests of the layout of prompts and their answers."""

import torch

from blossomtune.evaluation.choice_batch import build_choice_batch

PROMPTS = [[1, 7, 8], [1, 9]]
ANSWERS = [[[20, 2], [21, 22, 2]], [[23, 2], [2]]]


def test_answers_follow_the_prompt_at_their_own_positions():
    batch = build_choice_batch(PROMPTS, ANSWERS)
    assert batch.input_ids.tolist() == [[1, 7, 8, 20, 21, 22], [0, 1, 9, 23, 0, 0]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 3, 4], [0, 0, 1, 2, 0, 0]]
    assert batch.segments.tolist() == [[0, 0, 0, 1, 2, 2], [-1, 0, 0, 1, -1, -1]]
    assert batch.prompt_width == 3


def test_cached_prefix_is_left_out():
    batch = build_choice_batch(PROMPTS, ANSWERS, prefix_length=1)
    assert batch.input_ids.tolist() == [[7, 8, 20, 21, 22], [0, 9, 23, 0, 0]]
    assert batch.position_ids.tolist() == [[1, 2, 3, 3, 4], [0, 1, 2, 0, 0]]


def test_each_target_is_predicted_by_the_token_before_it():
    batch = build_choice_batch(PROMPTS, ANSWERS)
    assert batch.num_logits == 4  # of the prompt's last token and of three tokens of answers
    assert batch.targets.tolist() == [[20, 2, 21, 22, 2], [23, 2, 2, -100, -100]]
    assert batch.sources.tolist() == [0, 1, 0, 2, 3]
    logits = torch.randn((2, 4, 30), generator=torch.Generator().manual_seed(0))
    nll = -logits.log_softmax(dim=-1)
    first, second = batch.compute_nll(logits).tolist()
    assert torch.tensor(first).allclose(
        torch.stack([nll[0, 0, 20] + nll[0, 1, 2], nll[0, 0, 21] + nll[0, 2, 22] + nll[0, 3, 2]])
    )
    assert torch.tensor(second).allclose(torch.stack([nll[1, 0, 23] + nll[1, 1, 2], nll[1, 0, 2]]))
