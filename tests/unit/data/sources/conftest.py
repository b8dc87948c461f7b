"""Fixtures of the tests of data sources."""

import pytest

from blossomtune.config.file_format import FileFormat
from blossomtune.data.sources import file_formats, retry
from blossomtune.data.sources.reading_log import ReadingLog


@pytest.fixture(autouse=True)
def short_retry_delay(monkeypatch):
    """Make retries fast; the number of attempts stays."""
    monkeypatch.setattr(retry, "INITIAL_DELAY", 0.01)


@pytest.fixture
def write_file(tmp_path):
    """Return a function that writes a text file of this name."""

    def write(name, text):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def read_rows():
    """Return a function that reads the rows of each file; it checks the batches' sizes."""

    def read(paths, kind=None, columns=None, log=None, **keys):
        rows = {}
        file_format = FileFormat(kind=kind, columns=columns, **keys)
        for path, batch in file_formats.read_files(paths, file_format, log or ReadingLog()):
            assert batch.num_rows <= file_formats.ROWS_PER_BATCH
            assert batch.schema.metadata is None
            rows.setdefault(path, []).extend(batch.to_pylist())
        return [rows.get(path, []) for path in paths]

    return read
