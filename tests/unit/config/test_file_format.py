"""Tests of the keys that say how files become rows."""

import pytest
from pydantic import ValidationError

from blossomtune.config.file_format import FORMATS_BY_KEY, FileFormat

VALUES = {
    "columns": ["a"],
    "delimiter": ";",
    "quotechar": "'",
    "encoding": "cp1252",
    "rows": "paragraph",
    "sheet": "Data",
    "on_bad_line": "skip",
}


def test_keys_are_for_some_formats_only():
    assert FileFormat.model_fields.keys() == {"kind", *VALUES} == {"kind", *FORMATS_BY_KEY}
    for key, value in VALUES.items():
        for kind in ("csv", "tsv", "json", "jsonl", "parquet", "arrow", "text", "xlsx"):
            if kind in FORMATS_BY_KEY[key]:
                FileFormat(kind=kind, **{key: value})
            else:
                with pytest.raises(ValidationError, match=rf"{key} is for .*, and kind is {kind}"):
                    FileFormat(kind=kind, **{key: value})
        assert FileFormat(**{key: value}).is_stated(key)


def test_defaults_fit_every_format():
    for kind in ("json", "parquet", "text", "xlsx"):
        block = FileFormat(kind=kind)
        assert FileFormat(**block.model_dump()) == block
        assert not any(block.is_stated(key) for key in FORMATS_BY_KEY)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"delimiter": ";;"}, 'one ASCII character in double quotes, such as ";" or "\\\\t"'),
        ({"delimiter": "\\t"}, "one ASCII character in double quotes"),
        ({"delimiter": "\n"}, "one ASCII character in double quotes"),
        ({"delimiter": "§"}, "one ASCII character in double quotes"),
        ({"quotechar": "''"}, "one ASCII character, or none"),
        ({"delimiter": "'", "quotechar": "'"}, "delimiter and quotechar are both"),
        ({"encoding": "utf-9"}, "an encoding that Python knows, such as utf-8"),
        ({"encoding": "hex"}, "an encoding that Python knows, such as utf-8"),
    ],
)
def test_impossible_values_are_rejected(keys, message):
    with pytest.raises(ValidationError, match=message):
        FileFormat(**keys)


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "latin-1", "cp1252", "utf-16", "gb18030"])
def test_encodings_are_python_s(encoding):
    assert FileFormat(encoding=encoding).encoding == encoding
