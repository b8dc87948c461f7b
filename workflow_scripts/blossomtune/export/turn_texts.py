"""Express a chat template as fixed texts around each message, and prove that they are the same."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from blossomtune.errors import UserError, abbreviate
from blossomtune.modeling.chat_template import ChatMessage, ChatTemplate

_CONTENTS = {"system": "@system@", "user": "@user@", "assistant": "@assistant@", "last": "@last@"}

_TEXTS = ("Hello", 'Two\n\nlines, {{ braces }}, "quotes", \\ and `ticks`', "ñ 漢字 🚀", "a: 1.5")
"""Contents that templates could change."""

_PADDED = " white space around \n"


@dataclass(frozen=True)
class TurnTexts:
    """The texts that a chat template writes around messages.

    Attributes:
        bos: Text before the first message.
        around: Text before and after a message's content, by role.
        generation_prompt: Text before the model's answer.
        default_system: System text of conversations that have none; empty if there is none.
        trims: Whether the template removes white space around contents, which the texts do not.
    """

    bos: str
    around: dict[str, tuple[str, str]]
    generation_prompt: str
    default_system: str = ""
    trims: bool = False

    def render(self, messages: Sequence[ChatMessage]) -> str:
        """Return a conversation's text up to the model's next answer."""
        if self.default_system and messages[0]["role"] != "system":
            messages = [{"role": "system", "content": self.default_system}, *messages]
        turns = (m["content"].join(self.around[m["role"]]) for m in messages)
        return self.bos + "".join(turns) + self.generation_prompt


def derive_turn_texts(template: ChatTemplate) -> TurnTexts:
    """Derive the texts around messages by rendering conversations, and check them on others.

    Args:
        template: A chat template.

    Returns:
        The texts, which give the same prompts as the template in all checked conversations.

    Raises:
        UserError: If fixed texts cannot express the template.
    """
    has_system = _accepts_system(template)
    try:
        texts = _split_conversation(template, has_system)
        texts = _add_default_system(template, texts)
    except ValueError:
        raise _make_error("its text around a message depends on the other messages") from None
    for messages in _list_conversations(has_system):
        expected = template.render(messages, add_generation_prompt=True)
        if texts.render(messages) != expected:
            raise _make_error(f"it writes {abbreviate(expected, 200)}")
    padded = [{"role": "user", "content": _PADDED}]
    trims = texts.render(padded) != template.render(padded, add_generation_prompt=True)
    return replace(texts, trims=trims)


def _make_error(reason: str) -> UserError:
    return UserError(
        f"export.ollama: the model's chat template cannot be written for Ollama: {reason}",
        "leave ollama out; `llama-server --jinja` uses the chat template in the GGUF file itself",
    )


def _accepts_system(template: ChatTemplate) -> bool:
    """Return whether the template writes a system turn of its own."""
    messages = [{"role": role, "content": _CONTENTS[role]} for role in ("system", "user")]
    try:
        text = template.render(messages, add_generation_prompt=False)
    except UserError:
        return False
    return 0 <= text.find(_CONTENTS["system"]) < text.find(_CONTENTS["user"])


def _split_conversation(template: ChatTemplate, has_system: bool) -> TurnTexts:
    """Return the texts around the messages of one conversation; raise ValueError if they vary."""
    roles = [*(["system"] if has_system else []), "user", "assistant"]
    turns = [{"role": role, "content": _CONTENTS[role]} for role in roles]
    longer = [*turns, {"role": "user", "content": _CONTENTS["last"]}]
    answered = template.render(turns, add_generation_prompt=False)
    text = template.render(longer, add_generation_prompt=False)
    prompt = template.render(longer, add_generation_prompt=True)

    before_user, before_answer, before_last, after_user = _split(
        text, [_CONTENTS[key] for key in ("user", "assistant", "last")]
    )
    after_answer = answered.rpartition(_CONTENTS["assistant"])[2]
    around = {
        "user": (_remove_prefix(before_last, after_answer), after_user),
        "assistant": (_remove_prefix(before_answer, after_user), after_answer),
    }
    start = _remove_suffix(before_user, around["user"][0])
    bos = start
    if has_system:
        before_system, after_system = _split(start, [_CONTENTS["system"]])
        token = template.tokenizer.bos_token or ""
        is_turn_start = around["user"][0].startswith(token)  # as <|im_start|> of SmolLM2
        bos = token if before_system.startswith(token) and not is_turn_start else ""
        around["system"] = (before_system.removeprefix(bos), after_system)
    return TurnTexts(bos, around, _remove_prefix(prompt, text))


def _add_default_system(template: ChatTemplate, texts: TurnTexts) -> TurnTexts:
    """Add the system text that the template writes where a conversation has none."""
    turns = [{"role": "user", "content": _CONTENTS["user"]}]
    prompt = template.render(turns, add_generation_prompt=True)
    if prompt == texts.render(turns) or "system" not in texts.around:
        return texts
    before, after = texts.around["system"]
    rest = replace(texts, bos="").render(turns)
    start = _remove_suffix(_remove_prefix(prompt, texts.bos + before), after + rest)
    return replace(texts, default_system=start)


def _list_conversations(has_system: bool) -> list[list[ChatMessage]]:
    """Return conversations of one to five messages, with system turns where there can be any."""
    turns = [
        {"role": ("user", "assistant")[i % 2], "content": _TEXTS[i % len(_TEXTS)]} for i in range(5)
    ]
    conversations = [turns[:1], turns[:3], turns]
    conversations += [[{"role": "user", "content": text}] for text in _TEXTS]
    if has_system:
        system = [{"role": "system", "content": text} for text in _TEXTS]
        conversations += [[turn, *rest] for turn in system for rest in conversations[:3]]
    return conversations


def _split(text: str, separators: Sequence[str]) -> list[str]:
    """Split a text at separators, each of which it has once, in order."""
    parts = []
    for separator in separators:
        part, found, text = text.partition(separator)
        if not found:
            raise ValueError(separator)
        parts.append(part)
    return [*parts, text]


def _remove_prefix(text: str, prefix: str) -> str:
    if not text.startswith(prefix):
        raise ValueError(prefix)
    return text.removeprefix(prefix)


def _remove_suffix(text: str, suffix: str) -> str:
    if not text.endswith(suffix):
        raise ValueError(suffix)
    return text.removesuffix(suffix)
