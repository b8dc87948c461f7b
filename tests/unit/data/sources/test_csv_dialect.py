"""Tests of the detection of csv dialects."""

import pytest

from blossomtune.config.file_format import FileFormat
from blossomtune.data.sources.csv_dialect import detect_dialect
from blossomtune.data.sources.reading_log import ReadingLog
from blossomtune.errors import UserError


def detect(path, kind="csv", **keys):
    dialect = detect_dialect(path, kind, FileFormat(kind=kind, **keys))
    return dialect.delimiter, dialect.quotechar


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n1,2\n", (",", '"')),
        ("a;b\n1,5;2,5\n", (";", '"')),
        ("a\tb\nx, y; z\tw|w\n", ("\t", '"')),
        ("a|b\n1|2\n", ("|", '"')),
        ("a;b,c\nx;y, y,\nx;y\n", (";", '"')),
        ("text\nplain\n", (",", '"')),
        ("text\n", (",", '"')),
        ("text;label\n", (";", '"')),
        ("", (",", '"')),
        ('a;b\n"x\n,;y""\n";2\n' * 9, (";", '"')),
        ("'a','b'\n'it''s','x'\n", (",", "'")),
        ("a,b\n'tis,x\n", (",", '"')),
        ("'x' he said,b\n'y' or not,x\n", (",", '"')),
        ("a,b\n1,2\n1\n", (",", '"')),
    ],
)
def test_delimiter_and_quotation_mark_are_detected(write_file, text, expected):
    for newline in ("\n", "\r\n", "\r"):
        assert detect(write_file("a", text.replace("\n", newline))) == expected


def test_columns_decide_between_delimiters(write_file):
    path = write_file("a", "1,5;2,5\n3,5;4,5\n")
    with pytest.raises(UserError) as error:
        detect(path)
    assert str(error.value) == (
        "format.delimiter: the delimiter of a is not clear: comma gives 3 columns in 100% of the "
        "rows, semicolon gives 2 columns in 100% of the rows\n"
        '  hint: format: {delimiter: ";"} says what it is'
    )
    assert detect(path, columns=["a", "b"]) == (";", '"')
    assert detect(path, columns=["a", "b", "c"]) == (",", '"')


def test_only_the_sample_decides_about_the_delimiter(write_file):
    rows = "some words; and more, and so on;good\n" * 60_000
    assert detect(write_file("a", f"text;label;sort\n{rows}")) == (";", '"')
    assert detect(write_file("a", f"text;label;sort\n{rows}".replace("\n", "\r"))) == (";", '"')
    for text in ("x" * 2_000_000, "x, y\n" * 400_000):
        assert detect(write_file("a", f'text;label\n"{text}";1\nz;2\n')) == (";", '"')


def test_single_quoted_values_below_a_plain_header_are_unclear(write_file):
    path = write_file("a", "text,n\n'it''s, no',1\nplain,2\n'',3\n")
    with pytest.raises(UserError, match=r"^format.quotechar: the quotation mark of a is not clear"):
        detect(path)
    assert detect(path, quotechar="'") == (",", "'")
    path = write_file("a", "'a;b'|'c\n;'\n")
    with pytest.raises(UserError, match=r"^format.quotechar: the quotation mark of a is not clear"):
        detect(path, columns=["text", "label"])
    assert detect(write_file("a", "text,n\n'tis,1\n"), quotechar='"') == (",", '"')
    assert detect(write_file("a", "text,n\n'x' he said,1\n'',2\n")) == (",", '"')


def test_configured_keys_are_not_detected(write_file):
    path = write_file("a", "a,b;c\n1,2;3\n")
    assert detect(path, delimiter=",", quotechar="none") == (",", None)
    dialect = detect_dialect(path, "csv", FileFormat(delimiter=";"))
    log = ReadingLog()
    dialect.add_to(log, "a")
    assert [r.detected for r in log.readings] == [["encoding", "quotechar"]]
    tsv = detect_dialect(path, "tsv", FileFormat(kind="tsv"))
    assert (tsv.delimiter, tsv.quotechar, tsv.detected) == ("\t", None, ("encoding",))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ('"x" y,1', "text follows a closing quotation mark"),
        ('"say \\"x\\" now",1', "text follows a closing quotation mark"),
        ('"x,1', "quotation mark does not end"),
        ('"x,' + "y" * 200_000, "quotation mark does not end"),
    ],
)
def test_quotation_marks_that_do_not_match_are_rejected(write_file, row, problem):
    path = write_file("a", f'a,b\n"two\nlines",1\n{row}\nz,2\n')
    with pytest.raises(UserError, match=f"^a: line 4: a row begins .*{problem}") as error:
        detect(path)
    assert 'the delimiter comma and the quotation mark "' in str(error.value)
    assert detect(path, quotechar="none", delimiter=",") == (",", None)
