"""Define how the files of a data set become rows."""

import codecs
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from blossomtune.config.base import Block, NonEmptyStr, with_error_message

_TABLES = ("csv", "tsv")
_TEXT_FORMATS = ("csv", "tsv", "json", "jsonl", "text")
FORMATS_BY_KEY = {
    "columns": (*_TABLES, "xlsx"),
    "delimiter": _TABLES,
    "quotechar": _TABLES,
    "encoding": _TEXT_FORMATS,
    "rows": ("text",),
    "sheet": ("xlsx",),
    "on_bad_line": ("jsonl",),
}
"""File formats that each key applies to."""


_CHAR_PATTERN = r"^[\t -~]$"
_Delimiter = Annotated[
    str,
    StringConstraints(pattern=_CHAR_PATTERN),
    with_error_message('one ASCII character in double quotes, such as ";" or "\\t"'),
]
_QuoteChar = Annotated[
    Literal["none"] | Annotated[str, StringConstraints(pattern=_CHAR_PATTERN)],
    with_error_message("one ASCII character, or none"),
]


def _validate_encoding(name: str) -> str:
    """Return the name; raise an error if Python has no text encoding of this name."""
    try:
        is_text = "a\n".encode(name).decode(name) == "a\n"
        if is_text and codecs.lookup(name).incrementaldecoder is not None:
            return name
    except (LookupError, UnicodeError):
        pass
    raise PydanticCustomError(
        "custom_message", "an encoding that Python knows, such as utf-8, cp1252, utf-16 or gb18030"
    )


class FileFormat(Block):
    """File format of a data set.

    Keys that are left out are [detected](own-data.md#formats) per file. Files that end in `.gz` or
    `.zst` are decompressed.
    """

    kind: Literal["csv", "tsv", "json", "jsonl", "parquet", "arrow", "text", "xlsx"] | None = Field(
        None,
        description="`json` is a list of objects, `jsonl` has one object per line, `tsv` has "
        "no quotation marks, `text` is plain text. The default follows the file names.",
    )
    columns: Annotated[list[NonEmptyStr], Field(min_length=1)] | None = Field(
        None, description="Column names of csv, tsv and xlsx files without a header row."
    )
    delimiter: _Delimiter | None = Field(
        None,
        description='Character between the values of a csv file, for example `";"` or `"\\t"`. '
        "The default is detected among comma, semicolon, tab and `|`. It is a tab for tsv.",
    )
    quotechar: _QuoteChar | None = Field(
        None,
        description="Character around quoted values of csv and tsv files, or `none`. The default "
        "is detected for csv (`\"` or `'`), and `none` for tsv.",
    )
    encoding: Annotated[str, AfterValidator(_validate_encoding)] | None = Field(
        None,
        description="Text encoding, for example `utf-8`, `cp1252` or `utf-16`. By default, UTF-8, "
        "UTF-16 and UTF-32 are detected, and cp1252 for csv, tsv and text.",
    )
    rows: Literal["file", "paragraph"] = Field(
        "file",
        description="Rows of text: one per file, or one per paragraph. Blank lines separate "
        "paragraphs.",
    )
    sheet: NonEmptyStr | None = Field(
        None, description="Name of the sheet of an xlsx file that has more than one."
    )
    on_bad_line: Literal["error", "skip"] = Field(
        "error",
        description="Action for a line of jsonl that is not a valid object. The manifest counts "
        "skipped lines.",
    )

    def is_stated(self, key: str) -> bool:
        """Return whether a key has another value than its default."""
        return bool(getattr(self, key) != type(self).model_fields[key].default)

    @model_validator(mode="after")
    def _validate_keys_together(self) -> "FileFormat":
        for key, formats in FORMATS_BY_KEY.items():
            if self.kind and self.is_stated(key) and self.kind not in formats:
                raise ValueError(
                    f"{key} is for {', '.join(formats)}, and kind is {self.kind}; leave it out"
                )
        if self.delimiter is not None and self.delimiter == self.quotechar:
            raise ValueError(f"delimiter and quotechar are both {self.delimiter!r}")
        return self
