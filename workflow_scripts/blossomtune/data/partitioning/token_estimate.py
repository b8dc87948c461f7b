"""How much text there is, without a tokenizer."""

import numpy as np
import pyarrow as pa

_SPACE, _LETTER, _CONTINUATION, _SYMBOL = range(4)


def _classify_byte(byte: int) -> int:
    if byte < 0x80:
        letter = chr(byte).isalnum() or chr(byte) == "_"
        return _LETTER if letter else _SPACE if chr(byte).isspace() else _SYMBOL
    return _CONTINUATION if byte < 0xC0 else _LETTER if byte < 0xE0 else _SYMBOL


_BYTE_CLASSES = bytes(map(_classify_byte, range(256)))


def estimate_tokens(values: pa.RecordBatch | pa.Array) -> int:
    r"""An estimate of tokens: words and marks, as ``\w+|[^\w\s]`` finds them in ASCII text.

    Letters of two bytes in UTF-8 (é, ж) belong to words as well; a character of three or more
    (Chinese, emoji) counts on its own, which is near to what tokenizers make of it.

    Args:
        values: rows; texts inside lists and objects count, too.
    """
    if isinstance(values, pa.RecordBatch):
        return sum(map(estimate_tokens, values.columns))
    kind = values.type
    if pa.types.is_struct(kind):
        return sum(map(estimate_tokens, values.flatten()))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return estimate_tokens(values.flatten())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _estimate_text_tokens(values.drop_null())
    return 0


def _estimate_text_tokens(texts: pa.StringArray | pa.LargeStringArray) -> int:
    """Words and marks of texts without nulls, byte by byte."""
    _, offsets, data = texts.buffers()
    if not len(texts) or data is None:
        return 0
    width = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    at = np.frombuffer(offsets, width)[texts.offset : texts.offset + len(texts) + 1]
    kinds = np.frombuffer(data[at[0] : at[-1]].to_pybytes().translate(_BYTE_CLASSES), np.uint8)
    letters = kinds == _LETTER
    follows = letters | (kinds == _CONTINUATION)  # what comes after these goes on with their word
    starts = at[:-1][np.diff(at) > 0][1:] - at[0]  # but not from one text into the next
    return int(
        np.count_nonzero(kinds == _SYMBOL)
        + np.count_nonzero(letters)
        - np.count_nonzero(letters[1:] & follows[:-1])
        + np.count_nonzero(letters[starts] & follows[starts - 1])
    )
