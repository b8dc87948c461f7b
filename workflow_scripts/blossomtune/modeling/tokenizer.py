"""Load a model's tokenizer and look up its special tokens."""

from pathlib import Path
from typing import Any

from blossomtune.errors import UserError


def load_tokenizer(directory: Path) -> Any:
    """Load the tokenizer of a model directory; code in the directory is never run.

    Args:
        directory: Model directory in Hugging Face's layout.

    Returns:
        A Hugging Face tokenizer.

    Raises:
        UserError: If it has no chat template.
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
