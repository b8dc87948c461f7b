"""Comparison of token ids with the model's embedding."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from blossomtune.errors import UserError


def require_embeddings(folder: Path, model: Path, tokenizer: Any) -> None:
    """Reject tokens that the model has no embedding for.

    Tokenizers may have more tokens than the model, such as those of images, if no row has them.

    Args:
        folder: directory of tokenized rows.
        model: directory of the model.
        tokenizer: the model's tokenizer.

    Raises:
        UserError: if a row has such a token.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model, local_files_only=True, trust_remote_code=False)
    size = config.get_text_config().vocab_size
    for file in sorted(folder.glob("*.arrow")):
        with pa.memory_map(str(file)) as mapped:
            for batch in pa.ipc.open_stream(mapped):
                largest = pc.max(batch["input_ids"].flatten()).as_py()
                if largest is not None and largest >= size:
                    token = tokenizer.convert_ids_to_tokens(largest)
                    raise UserError(
                        f"{file.name}: a row has the token {token!r} with the id {largest}, but "
                        f"the model has embeddings for ids below {size} only",
                        "use the tokenizer that the model was trained with, or resize the model "
                        "with resize_token_embeddings and save it",
                    )
