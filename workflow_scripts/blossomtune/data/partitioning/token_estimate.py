"""Estimate of the number of tokens, without a tokenizer."""

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
    r"""Count words and marks, as ``\w+|[^\w\s]`` matches them in ASCII text.

    Letters of two bytes in UTF-8 (é, ж) are parts of words. Characters of three or more bytes
    (Chinese, emoji) count one each, which approximates tokenizers.

    Args:
        values: rows or a column; texts inside lists and structs are counted as well.

    Returns:
        The estimated number of tokens.
    """
    if isinstance(values, pa.RecordBatch):
        return sum(map(estimate_tokens, values.columns))
    type_, is_ = values.type, pa.types
    if is_.is_struct(type_):
        return sum(map(estimate_tokens, values.flatten()))
    if is_.is_list(type_) or is_.is_large_list(type_) or is_.is_fixed_size_list(type_):
        return estimate_tokens(values.flatten())
    if is_.is_string(type_) or is_.is_large_string(type_):
        return _estimate_text_tokens(values.drop_null())
    return 0


def _estimate_text_tokens(texts: pa.StringArray | pa.LargeStringArray) -> int:
    """Count words and marks of texts without nulls, byte by byte."""
    _, offsets, data = texts.buffers()
    if not len(texts) or data is None:
        return 0
    width = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    bounds = np.frombuffer(offsets, width)[texts.offset : texts.offset + len(texts) + 1]
    text_bytes = data[bounds[0] : bounds[-1]].to_pybytes()
    classes = np.frombuffer(text_bytes.translate(_BYTE_CLASSES), np.uint8)
    letters = classes == _LETTER
    in_word = letters | (classes == _CONTINUATION)  # a letter after these continues their word
    starts = bounds[:-1][np.diff(bounds) > 0][1:] - bounds[0]  # words end with their text
    return int(
        np.count_nonzero(classes == _SYMBOL)
        + np.count_nonzero(letters)
        - np.count_nonzero(letters[1:] & in_word[:-1])
        + np.count_nonzero(letters[starts] & in_word[starts - 1])
    )
