"""Record of how files were read."""

from pydantic import Field

from blossomtune.artifacts.base import Part


class FileReading(Part):
    """Files that were read in the same way.

    Attributes:
        files: number of files.
        first_file: name of the first one.
        format: file format.
        encoding: text encoding; None if the format has none.
        delimiter: character between values; None if the format has none.
        quotechar: character around quoted values, or ``none``; None if the format has none.
        sheet: name of the sheet; None if the format has none.
        detected: keys among these that were not configured but detected.
        skipped: bad lines, empty texts or empty paragraphs that were skipped.
    """

    files: int
    first_file: str
    format: str
    encoding: str | None = None
    delimiter: str | None = None
    quotechar: str | None = None
    sheet: str | None = None
    detected: list[str] = Field(default_factory=list)
    skipped: int = 0
