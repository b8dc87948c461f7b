"""From rendered text to token ids and labels: the one place where this happens."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from blossomtune.errors import UserError

IGNORED = -100
"""Label of a token that the loss does not look at (PyTorch's ``ignore_index``)."""

# Some templates write today's date. Shadowed by this macro, they write the same one every day.
_ONE_DAY = "{% macro strftime_now(format) %}01 Jan 2025{% endmacro +%}"


def load_tokenizer(directory: Path) -> Any:
    """The tokenizer of a model directory; code that comes with a model is never run.

    Raises:
        UserError: where it has no chat template.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        directory, local_files_only=True, trust_remote_code=False
    )
    if not tokenizer.chat_template:
        raise UserError(
            "the model has no chat template, so there is no right way to write a prompt for it",
            "choose an instruction-tuned model, or add chat_template.jinja to the model's folder",
        )
    return tokenizer


def pad_id(tokenizer: Any) -> int:
    """The id to pad with; it is masked, so where a model names none, any will do."""
    return 0 if tokenizer.pad_token_id is None else tokenizer.pad_token_id


def prompt_text(tokenizer: Any, prompt: str, system: str | None = None) -> str:
    """A conversation up to where the model answers, as the model's own chat template writes it.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        prompt: the user's turn.
        system: a system turn before it, or None.

    Raises:
        UserError: where the template refuses such turns, as Gemma's does a system turn.
    """
    turns = [{"role": "system", "content": system}] if system is not None else []
    return _written(tokenizer, [*turns, {"role": "user", "content": prompt}], ask=True)


def _written(tokenizer: Any, turns: list[dict[str, str]], *, ask: bool) -> str:
    from jinja2 import TemplateError

    template = tokenizer.get_chat_template()
    if "strftime_now" in template:
        template = _ONE_DAY + template
    try:
        return tokenizer.apply_chat_template(
            turns, chat_template=template, tokenize=False, add_generation_prompt=ask
        )
    except TemplateError as error:
        raise UserError(
            f"the model's chat template refuses these turns: {error}",
            "many models know no system turn: leave `system` out, and say it in `prompt`",
        ) from None


@functools.lru_cache(maxsize=4)
def end_of_turn(tokenizer: Any) -> int:
    """The id of the token with which the model ends its turn.

    Chat templates decide this, not ``eos_token`` alone: Gemma's turns end with
    ``<end_of_turn>``, while its EOS is ``<eos>``.

    Raises:
        UserError: where neither the template nor the tokenizer names one.
    """
    mark = "blossomtune"
    turns = [{"role": "user", "content": mark}, {"role": "assistant", "content": mark}]
    rest = _written(tokenizer, turns, ask=False).rpartition(mark)[2]
    ids = tokenizer(rest.lstrip(), add_special_tokens=False)["input_ids"]
    end = ids[0] if ids and ids[0] in tokenizer.added_tokens_decoder else tokenizer.eos_token_id
    if end is None:
        raise UserError(
            "the model's tokenizer has no token that ends a turn",
            "add eos_token to the model's tokenizer_config.json",
        )
    return end


def encode(tokenizer: Any, prompt: str, completion: str) -> tuple[list[int], list[int]]:
    """``encode_all`` for one example."""
    return encode_all(tokenizer, [prompt], [completion])[0]


def encode_all(
    tokenizer: Any, prompts: Sequence[str], completions: Sequence[str]
) -> list[tuple[list[int], list[int]]]:
    """Token ids and labels of examples.

    A prompt's ids are those that the model will see when it is asked, whatever follows; a
    completion's are what it should answer, ended by the template's end of turn. Special tokens
    come from the chat template alone, so there is never a second BOS.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template; a fast one uses all cores that
            ``RAYON_NUM_THREADS`` gives it.
        prompts: what ``prompt_text`` returned, for each example.
        completions: the answers, without their end of turn.

    Returns:
        ``(input_ids, labels)`` of equal length for each; labels are ``IGNORED`` over the prompt.
    """

    def ids(texts: Sequence[str]) -> list[list[int]]:
        return tokenizer(list(texts), add_special_tokens=False)["input_ids"]

    wholes = ids([p + c for p, c in zip(prompts, completions, strict=True)])
    end, examples = end_of_turn(tokenizer), []
    for start, whole, completion in zip(ids(prompts), wholes, completions, strict=True):
        # where a token would straddle the border, keep the border: it is there when asked, too
        fits = whole[: len(start)] == start
        answer = [*(whole[len(start) :] if fits else ids([completion])[0]), end]
        examples.append(([*start, *answer], [IGNORED] * len(start) + answer))
    return examples
