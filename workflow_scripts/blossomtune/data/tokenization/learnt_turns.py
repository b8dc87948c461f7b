"""Split conversations into contexts and learnt answers.

A context is exactly the text that the model sees at inference. What is learnt is exactly what the
chat template writes there in the finished conversation.
"""

import os.path
from collections.abc import Sequence
from itertools import pairwise

from blossomtune.data.tokenization.conversation import (
    Conversation,
    list_message_texts,
    list_tool_texts,
)
from blossomtune.data.tokenization.template_traits import adapt_message, find_unread_fields
from blossomtune.data.tokenization.text_coverage import find_unwritten_text
from blossomtune.errors import UserError
from blossomtune.modeling.chat_template import ChatMessage, ChatTemplate, detect_turn_format
from blossomtune.modeling.encoding import TurnText

_HINTS = {
    "content": "the chat template cuts or rewrites this text; derive the text that is meant",
    "reasoning_content": "the chat template has no place for thoughts, or cuts them: choose another"
    " model, write the thought into content, or ignore_columns: [{column}.reasoning_content]",
    "tool_calls": "the chat template has no place for tool calls: choose a model that calls tools",
    "tools": "the chat template has no place for tools: choose a model that calls tools, or "
    "ignore_columns: [tools]",
    "name": "the chat template writes no names: ignore_columns: [{column}.name]",
}


def split_conversation(
    template: ChatTemplate, conversation: Conversation, column: str, allow_prompt_mismatch: bool
) -> list[list[TurnText]]:
    """Split a conversation into turns with a loss.

    If the finished conversation has every answer as the model writes it at inference, all turns
    become one example. Some templates rewrite earlier turns; Qwen 3 drops their thoughts. Then each
    answer becomes an example of its own.

    Args:
        template: A chat template.
        conversation: Messages of a row.
        column: Column of the messages, for hints.
        allow_prompt_mismatch: Whether an answer may follow another text than at inference.

    Returns:
        Examples, each a list of turns. The turns of an example join to its whole text.

    Raises:
        UserError: If the template refuses the messages, drops a text of them, or writes a prompt
            at inference that the finished conversation does not have.
    """
    messages = [adapt_message(template, message) for message in conversation.messages]
    turns = [
        _split_turn(template, messages[: i + 1], conversation, allow_prompt_mismatch)
        for i in conversation.learnt
    ]
    _check_texts(template, conversation, turns, column)
    if not all(b.context.startswith("".join(a)) for a, b in pairwise(turns)):
        return [[turn] for turn in turns]
    starts = [0, *(len("".join(turn)) for turn in turns[:-1])]
    return [
        [
            turn._replace(context=turn.context[start:])
            for turn, start in zip(turns, starts, strict=True)
        ]
    ]


def _split_turn(
    template: ChatTemplate,
    messages: Sequence[ChatMessage],
    conversation: Conversation,
    allow_prompt_mismatch: bool,
) -> TurnText:
    """Return the last message as a turn, with the whole text before it as context."""
    tools, turn_format = conversation.tools, detect_turn_format(template)
    prompt = template.render(messages[:-1], tools, add_generation_prompt=True)
    finished = template.render(messages, tools, add_generation_prompt=False)
    context = prompt
    if not finished.startswith(prompt):
        context = _find_context(template, messages, conversation)
        unseen, end = turn_format.unseen_prompt_end, turn_format.prompt_end
        if unseen and prompt == context + unseen:
            if not allow_prompt_mismatch:
                raise UserError(
                    f"prompts end with {unseen!r} at inference, and the chat template does not "
                    "write that before this answer",
                    "prompt_mismatch: warn trains without it; a template that reads thoughts, or "
                    "chat_template_arguments such as enable_thinking: false, may fit these rows",
                )
            prompt = context
        elif not (prompt.endswith(end) and context.endswith(end) and finished.startswith(context)):
            raise UserError(
                "the chat template writes the start of this answer differently at inference: "
                f"…{prompt[-60:]!r}",
                "other chat_template_arguments may fit these rows",
            )
    answer, end_of_turn = _split_end_of_turn(template, finished[len(context) :])
    return TurnText(prompt, answer, end_of_turn)


def _find_context(
    template: ChatTemplate, messages: Sequence[ChatMessage], conversation: Conversation
) -> str:
    """Return what a finished conversation has before its last answer.

    It is what two conversations share that differ in their last answer from its first letter on.
    Mistral's templates write the system turn elsewhere than in prompts.
    """
    probes = [
        template.render(
            [*messages[:-1], {"role": "assistant", "content": letter}],
            conversation.tools,
            add_generation_prompt=False,
        )
        for letter in "ab"
    ]
    common = os.path.commonprefix(probes)  # noqa: RUF071 - of texts
    return common.removesuffix(detect_turn_format(template).answer_prefix)


def _split_end_of_turn(template: ChatTemplate, text: str) -> tuple[str, str]:
    """Return an answer and the token that ends its turn: the template's, else EOS."""
    turn_format = detect_turn_format(template)
    if not turn_format.writes_end_of_turn:
        return text.removesuffix(turn_format.after_answer), turn_format.end_of_turn_token
    stripped = text.rstrip()
    for end in (turn_format.end_of_turn_token, template.control_tokens.find_trailing(stripped)):
        if end and stripped.endswith(end):
            return stripped.removesuffix(end), end
    raise UserError(
        f"the chat template does not end this turn with a control token: …{text[-60:]!r}",
        "the model would not learn to stop",
    )


def _check_texts(
    template: ChatTemplate, conversation: Conversation, turns: Sequence[TurnText], column: str
) -> None:
    """Raise UserError if the template drops a text of the conversation.

    Thoughts before the last answer are exempt: templates drop them on purpose.
    """
    context = list_tool_texts(conversation.tools or ())
    for i, message in enumerate(conversation.messages):
        texts = list_message_texts(message)
        if i not in conversation.learnt:
            texts = [text for text in texts if text[0] != "reasoning_content"]
            context += texts
        if message["role"] in ("user", "assistant"):
            unread = find_unread_fields(template, message)
            _report_unwritten(next((t for t in texts if t[0] in unread), None), f"turn {i}", column)
    _report_unwritten(find_unwritten_text(context, turns[-1].context), "the conversation", column)
    for i, turn in zip(conversation.learnt, turns, strict=True):
        texts = list_message_texts(conversation.messages[i])
        _report_unwritten(find_unwritten_text(texts, turn.answer), f"turn {i}", column)


def _report_unwritten(missing: tuple[str, str] | None, place: str, column: str) -> None:
    if missing:
        field, text = missing
        shown = text if len(text) <= 60 else text[:60] + "…"
        raise UserError(
            f"{place}: the chat template does not write this text of {field}: {shown!r}",
            _HINTS[field].format(column=column),
        )
