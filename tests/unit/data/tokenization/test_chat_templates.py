"""Tests of what is learnt with the chat templates of fifteen model families.

A row is either refused, or the model learns each turn exactly as the chat template writes it in the
finished conversation, after exactly the prompt that it gets at inference.
"""

import pytest
from chat_cases import CASES, CELLS, REFUSALS, check_turns, make_row
from chat_families import FAMILIES, build_tokenizer
from chat_oracle import render_learnt_turns

from blossomtune.errors import UserError


def test_table_has_all_families_and_cases():
    assert {name for name, *_ in CELLS} == set(FAMILIES)
    assert {case for _, case, _ in CELLS} == set(CASES)


@pytest.mark.parametrize(("name", "case", "expected"), CELLS)
def test_learnt_turns_are_those_of_the_chat_template(tokenize, name, case, expected):
    messages, tools = CASES[case]
    if expected != "ok":
        with pytest.raises(UserError, match=REFUSALS[expected]):
            tokenize(name, make_row(messages, tools))
        return
    examples, _ = tokenize(name, make_row(messages, tools))
    check_turns(name, examples, messages, tools)


REWRITING = {"qwen3", "qwen3_off", "qwen3_thinking", "gpt_oss"}
"""Families whose templates write an answer differently once another turn follows."""


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - {"deepseek_r1"}))
def test_turns_share_an_example_unless_the_template_rewrites_them(tokenize, name):
    examples, _ = tokenize(name, make_row(*CASES["turns"]))
    assert len(examples) == (2 if name in REWRITING else 1)


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - {"deepseek_r1"}))
def test_last_turn_is_learnt_alone(tokenize, name):
    messages, _ = CASES["turns"]
    examples, _ = tokenize(name, make_row(messages), loss="last_turn")
    check_turns(name, examples, messages, last_turn=True)


HELD_OUT_CASES = ("plain", "system", "turns", "weight")
LEARNT_CELLS = [(name, case) for name, case, expected in CELLS if expected == "ok"]


@pytest.mark.parametrize(
    ("name", "case"), [(name, case) for name, case in LEARNT_CELLS if case in HELD_OUT_CASES]
)
def test_held_out_row_has_prompt_and_answer_of_its_last_turn(tokenize, name, case):
    messages, _ = CASES[case]
    (example,), _ = tokenize(name, make_row(messages), held_out=True)
    check_turns(name, [example], messages, last_turn={name} <= REWRITING)
    turns = render_learnt_turns(build_tokenizer(name), FAMILIES[name], messages, last_turn=True)
    assert (example["prompt"], example["completion"]) == (turns[0][0], messages[-1]["content"])


@pytest.mark.parametrize(
    "name", [n for n, case in LEARNT_CELLS if case == "think" if FAMILIES[n].thoughts == "field"]
)
def test_held_out_answer_has_no_thought(tokenize, name):
    (example,), _ = tokenize(name, make_row(*CASES["think"]), held_out=True)
    assert example["completion"] == "So."
