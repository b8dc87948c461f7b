"""From rendered text to token ids and labels: the one place where this happens."""

from typing import Any

from blossomtune.errors import UserError

IGNORED = -100
"""Label of a token that the loss does not look at (PyTorch's ``ignore_index``)."""


def prompt_text(tokenizer: Any, prompt: str, system: str | None = None) -> str:
    """A conversation up to where the model answers, as the model's own chat template writes it.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        prompt: the user's turn.
        system: a system turn before it, or None.

    Raises:
        UserError: where the model has no chat template.
    """
    if not tokenizer.chat_template:
        raise UserError(
            "the model has no chat template, so there is no right way to write a prompt for it",
            "choose an instruction-tuned model, or add chat_template.jinja to the model's folder",
        )
    turns = [{"role": "system", "content": system}] if system is not None else []
    turns.append({"role": "user", "content": prompt})
    return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)


def end_of_turn(tokenizer: Any) -> int:
    """The id of the token with which the model ends its turn.

    Chat templates decide this, not ``eos_token`` alone: Gemma's turns end with
    ``<end_of_turn>``, while its EOS is ``<eos>``.
    """
    mark = "blossomtune"
    turns = [{"role": "user", "content": mark}, {"role": "assistant", "content": mark}]
    rest = tokenizer.apply_chat_template(turns, tokenize=False).rpartition(mark)[2]
    ids = tokenizer(rest.lstrip(), add_special_tokens=False)["input_ids"]
    return ids[0] if ids and ids[0] in tokenizer.added_tokens_decoder else tokenizer.eos_token_id


def encode(tokenizer: Any, prompt: str, completion: str) -> tuple[list[int], list[int]]:
    """Token ids and labels of one example.

    The prompt's ids are those that the model will see when it is asked, whatever follows; the
    completion's are what it should answer, ended by the template's end of turn. Special tokens come from the chat
    template alone, so there is never a second BOS.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        prompt: what ``prompt_text`` returned.
        completion: the answer, without its end of turn.

    Returns:
        ``(input_ids, labels)`` of equal length; labels are ``IGNORED`` over the prompt.
    """
    start = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    whole = tokenizer(prompt + completion, add_special_tokens=False)["input_ids"]
    if whole[: len(start)] == start:
        answer = whole[len(start) :]
    else:  # a token would straddle the border; at inference the border is there, so keep it
        answer = tokenizer(completion, add_special_tokens=False)["input_ids"]
    answer = [*answer, end_of_turn(tokenizer)]
    return [*start, *answer], [IGNORED] * len(start) + answer
