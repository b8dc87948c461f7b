"""answers.jsonl: what each model answers to held-out prompts, one JSON object per line."""

from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from blossomtune import files
from blossomtune.artifacts.base import Artifact, Part
from blossomtune.artifacts.files import invalid_file_error, missing_file_error


class Answer(Part):
    """A generated answer.

    Attributes:
        text: the answer, without a thought before it and without control tokens.
        scores: value of each metric, by its name.
    """

    text: str
    scores: dict[str, float]


class AnswerRecord(Artifact):
    """A held-out row and the models' answers to it.

    Attributes:
        row: index of the row in the data set's test.parquet.
        prompt: what the user asked.
        references: right answers, the row's completion first.
        answers: answers by the name of the model: those of metrics.json, and ``local_<i>``.
    """

    row: int
    prompt: str
    references: list[str]
    answers: dict[str, Answer]


def write_answers(path: Path, records: Iterable[AnswerRecord]) -> None:
    """Write one line per record, atomically; no line if there are no records.

    Args:
        path: the file to write.
        records: the rows, in order.
    """
    with files.write_atomically(path) as partial:
        lines = [files.to_canonical_json(record.model_dump(mode="json")) for record in records]
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read_answers(path: Path) -> list[AnswerRecord]:
    """Read the records that ``write_answers`` wrote.

    Args:
        path: the file.

    Returns:
        One record per line.

    Raises:
        UserError: if the file is missing, or a line is not a record.
    """
    records = list[AnswerRecord]()
    try:
        with path.open(encoding="utf-8", newline="\n") as lines:
            for line in lines:
                records.append(AnswerRecord.model_validate_json(line))
    except FileNotFoundError:
        raise missing_file_error(path) from None
    except UnicodeDecodeError as error:
        raise invalid_file_error(path, f"not UTF-8: {error}") from None
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(["", *map(str, fault["loc"])])
        raise invalid_file_error(path, f"line {len(records) + 1}{where}: {fault['msg']}") from None
    return records
