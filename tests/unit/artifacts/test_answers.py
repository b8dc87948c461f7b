"""answers.jsonl is read as it was written."""

import pytest
from artifact_samples import answer_record

from blossomtune.artifacts.answers import read_answers, write_answers
from blossomtune.errors import UserError


@pytest.mark.parametrize("texts", [[], ["a"], ["a\nb\u2028c", "", "😀 שלום"]])
def test_answers_are_read_as_they_were_written(tmp_path, texts):
    records = [answer_record(row, text) for row, text in enumerate(texts)]
    write_answers(tmp_path / "answers.jsonl", records)
    assert (tmp_path / "answers.jsonl").read_bytes().count(b"\n") == len(texts)
    assert read_answers(tmp_path / "answers.jsonl") == records


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{\n", "line 1: Invalid JSON"),
        ("{}\n", "line 1.row: Field required"),
        (b"\xff", "not UTF-8"),
        (None, "it is not there"),
    ],
)
def test_damaged_file_is_reported(tmp_path, content, message):
    file = tmp_path / "answers.jsonl"
    if content is not None:
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UserError, match=message):
        read_answers(file)
