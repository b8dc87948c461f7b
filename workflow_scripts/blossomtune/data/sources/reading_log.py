"""Log of how the files of a source were read."""

from typing import Any

from blossomtune.artifacts.file_reading import FileReading


class ReadingLog:
    """Readings of files, grouped, so that it stays small for thousands of files."""

    def __init__(self) -> None:
        self._readings: dict[str, FileReading] = {}

    @property
    def readings(self) -> list[FileReading]:
        """One entry per group of files that were read in the same way, in order."""
        return list(self._readings.values())

    @property
    def num_skipped(self) -> int:
        """Number of lines, texts and paragraphs that were skipped in all files."""
        return sum(reading.skipped for reading in self.readings)

    def add(self, file: str, file_format: str, *, skipped: int = 0, **fields: Any) -> None:
        """Add a file.

        Args:
            file: its name.
            file_format: its format.
            skipped: number of lines, texts and paragraphs that were skipped.
            **fields: other fields of ``FileReading``.
        """
        reading = FileReading(files=1, first_file=file, format=file_format, **fields)
        key = reading.model_dump_json(exclude={"first_file"})
        first = self._readings.get(key, reading.model_copy(update={"files": 0}))
        counts = {"files": first.files + 1, "skipped": first.skipped + skipped}
        self._readings[key] = first.model_copy(update=counts)
