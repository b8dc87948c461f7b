"""Tests of the log of readings."""

from blossomtune.artifacts.file_reading import FileReading
from blossomtune.data.sources.reading_log import ReadingLog


def test_equal_readings_are_one_entry():
    log = ReadingLog()
    for i in range(1000):
        encoding = "cp1252" if i % 3 == 1 else "utf-8"
        log.add(f"{i}.txt", "text", encoding=encoding, detected=["encoding"], skipped=i % 2)
    assert log.readings == [
        FileReading(files=n, first_file=first, format="text", encoding=encoding,
                    detected=["encoding"], skipped=skipped)
        for n, first, encoding, skipped in (
            (667, "0.txt", "utf-8", 333), (333, "1.txt", "cp1252", 167)
        )
    ]  # fmt: skip
    assert log.num_skipped == 500
