"""The system turn of a conversation: the configured one, the row's column, or its own."""

from collections.abc import Sequence

from blossomtune.errors import UserError
from blossomtune.modeling.chat_template import ChatMessage


def drop_empty_system_turns(
    messages: Sequence[ChatMessage], learnt: Sequence[int]
) -> tuple[list[ChatMessage], list[int]]:
    """Drop system turns without text, which some data sets have in every row.

    Args:
        messages: messages of a row.
        learnt: indices of learnt messages.

    Returns:
        The other messages, and the indices of the learnt ones among them.
    """
    positions = [i for i, m in enumerate(messages) if m["role"] != "system" or m["content"].strip()]
    return [messages[i] for i in positions], [positions.index(i) for i in learnt]


def add_system_turn(
    text: str, messages: Sequence[ChatMessage], learnt: Sequence[int], *, is_row_text: bool
) -> tuple[list[ChatMessage], list[int]]:
    """Add a system turn to a conversation that does not start with its own.

    Args:
        text: text of the turn; nothing is added if it is empty.
        messages: messages of a row.
        learnt: indices of learnt messages.
        is_row_text: whether the text comes from a column of the row.

    Returns:
        Messages and indices of learnt ones.

    Raises:
        UserError: if the row has two different system turns.
    """
    if not text.strip():
        return list(messages), list(learnt)
    if messages[0]["role"] != "system":
        return [{"role": "system", "content": text}, *messages], [i + 1 for i in learnt]
    if is_row_text and text.strip() != messages[0]["content"].strip():
        raise UserError(
            "system: the column and the first turn are different system turns",
            "ignore_columns: [system] keeps the first turn",
        )
    return list(messages), list(learnt)


def fold_system_turn(
    messages: Sequence[ChatMessage], learnt: Sequence[int]
) -> tuple[list[ChatMessage], list[int]]:
    """Write a system turn at the start before the text of the first user turn.

    Args:
        messages: messages of a row.
        learnt: indices of learnt messages.

    Returns:
        Messages and indices of learnt ones.
    """
    if messages[0]["role"] != "system":
        return list(messages), list(learnt)
    system, *others = messages
    first_user = next(i for i, message in enumerate(others) if message["role"] == "user")
    user = others[first_user]
    others[first_user] = user | {"content": f"{system['content']}\n\n{user['content']}"}
    return others, [i - 1 for i in learnt]
