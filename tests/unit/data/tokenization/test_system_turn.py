"""Tests of the system turn of a conversation."""

import pytest

from blossomtune.data.tokenization.system_turn import (
    add_system_turn,
    drop_empty_system_turns,
    fold_system_turn,
)
from blossomtune.errors import UserError

USER, MODEL = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}


def system(text):
    return {"role": "system", "content": text}


def test_empty_system_turns_are_dropped_and_indices_follow():
    messages = [system(" \n"), USER, system(""), MODEL, USER, MODEL]
    assert drop_empty_system_turns(messages, [3, 5]) == ([USER, MODEL, USER, MODEL], [1, 3])
    kept = [system("Be brief."), USER, MODEL]
    assert drop_empty_system_turns(kept, [2]) == (kept, [2])


@pytest.mark.parametrize("is_row_text", [False, True])
def test_system_turn_is_added_once(is_row_text):
    added = add_system_turn("Be brief.", [USER, MODEL], [1], is_row_text=is_row_text)
    assert added == ([system("Be brief."), USER, MODEL], [2])
    assert add_system_turn("Be brief. ", *added, is_row_text=is_row_text) == added
    assert add_system_turn(" ", [USER, MODEL], [1], is_row_text=is_row_text) == ([USER, MODEL], [1])


def test_own_system_turn_wins_over_the_template_and_conflicts_with_a_column():
    own = [system("Be long."), USER, MODEL]
    assert add_system_turn("Be brief.", own, [2], is_row_text=False) == (own, [2])
    with pytest.raises(UserError, match="different system turns"):
        add_system_turn("Be brief.", own, [2], is_row_text=True)


def test_folded_turn_keeps_every_text():
    folded = fold_system_turn([system("Be brief."), MODEL, USER, MODEL], [3])
    assert folded == ([MODEL, USER | {"content": "Be brief.\n\nq"}, MODEL], [2])
    assert fold_system_turn([USER, MODEL], [1]) == ([USER, MODEL], [1])
