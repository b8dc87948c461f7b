"""TODO docstring."""

from pathlib import Path
from typing import Any

from blossomtune.errors import UserError
from blossomtune.modeling.chat_template import detect_turn_format


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


def get_pad_token_id(tokenizer: Any) -> int:
    """The id to pad with; it is masked, so where a model names none, any will do."""
    return 0 if tokenizer.pad_token_id is None else tokenizer.pad_token_id


def get_end_of_turn_id(tokenizer: Any) -> int:
    """The id of the token with which the model ends its turn.

    Chat templates decide this, not ``eos_token`` alone: Gemma's turns end with
    ``<end_of_turn>``, while its EOS is ``<eos>``.

    Raises:
        UserError: where neither the template nor the tokenizer names one.
    """
    return detect_turn_format(tokenizer).end_of_turn_id
