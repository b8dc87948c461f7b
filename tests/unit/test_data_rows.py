import pyarrow as pa
import pytest

from blossomtune.data.preparation import source_rows, transform
from blossomtune.errors import UserError

NOTHING = {"rename": {}, "derive": {}, "filter": None, "columns": None}


def worked(tmp_path, *parts, alike=True, **block):
    batches = ((name, pa.RecordBatch.from_pydict(columns)) for name, columns in parts)
    files = source_rows.store_source_rows(batches, tmp_path / "read", require_same_columns=alike)
    made, passed = transform.transform_rows(files, NOTHING | block, tmp_path / "worked")
    return made, [row for b in made.iter_batches() for row in b.to_pylist()], passed.tolist()


def test_derived_columns_see_the_file_and_those_before_them(tmp_path):
    made, found, _ = worked(
        tmp_path,
        ("tweets.txt", {"text": [" x ", "y"]}),
        ("news.txt", {"text": ["z"]}),
        derive={"from": "{{ file | replace('.txt', '') }}", "both": " {{ from }}-{{ text }} "},
    )
    assert made.schema.names == ["text", "from", "both"]
    assert [row["both"] for row in found] == ["tweets- x", "tweets-y", "news-z"]
    assert found[0]["text"] == " x "


def test_a_derived_column_may_take_anothers_place(tmp_path):
    made, found, _ = worked(tmp_path, ("a", {"n": [1], "k": [2]}), derive={"n": "<{{ n + k }}>"})
    assert (made.schema.names, found) == (["n", "k"], [{"n": "<3>", "k": 2}])


def test_names_change_before_anything_else(tmp_path):
    _, found, passed = worked(
        tmp_path,
        ("a", {"x": [1, 2, 3], "y": [4, 5, 6]}),
        rename={"x": "y", "y": "x"},
        derive={"sum": "{{ x }}{{ y }}"},
        filter="sum != '52' and file == 'a'",
        columns=["sum", "x"],
    )
    assert found == [{"sum": "41", "x": 4}, {"sum": "63", "x": 6}]
    assert passed == [True, False, True]


def test_a_column_that_comes_late_is_null_before_it(tmp_path):
    _, found, _ = worked(
        tmp_path,
        ("a", {"n": [1]}),
        ("a", {"n": [0.5], "late": ["x"]}),
        derive={"text": "{{ n }}{{ late or '' }}"},
    )
    assert [row["text"] for row in found] == ["1.0", "0.5x"]


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"derive": {"x": "{{ ratin }}"}}, r"row 1 of b: derive\.x: .*did you mean 'rating'\?"),
        ({"filter": "rating > 2 and ratin"}, r"row 1 of b: filter: there is no column 'ratin'"),
        ({"filter": "rating / 0"}, "row 0 of a: filter: ZeroDivisionError"),
        ({"filter": "rating >"}, "filter: not a valid expression"),
        ({"rename": {"txt": "x"}}, "rename: there is no column 'txt'; did you mean 'text'"),
        ({"rename": {"text": "rating"}}, r"rename\.text: there would be two columns 'rating'"),
        ({"rename": {"text": "x", "rating": "x"}}, r"rename\.text: there would be two columns 'x'"),
        ({"columns": ["text", "ratng"]}, "columns: there is no column 'ratng'; did you mean"),
        ({"columns": ["x"], "rename": {"text": "y"}}, "columns: there is no column 'x'"),
    ],
)
def test_blocks_that_do_not_fit(tmp_path, block, message):
    parts = (("a", {"rating": [1], "text": ["x"]}), ("b", {"rating": [2, 3], "text": ["x", "y"]}))
    if "derive" in block:
        block = {"derive": {"x": "{{ rating if rating < 3 else ratin }}"}}
    with pytest.raises(UserError, match=message):
        worked(tmp_path, *parts, **block)


def test_files_have_the_same_columns_or_need_not(tmp_path):
    parts = (("a", {"x": [1]}), ("a", {"y": [1]}), ("b", {"y": [2], "x": [2]}), ("c", {"x": [3]}))
    with pytest.raises(UserError, match="c has the columns x, but a has x, y"):
        worked(tmp_path / "one", *parts)
    made, found, _ = worked(tmp_path / "two", *parts, alike=False)
    assert found[-1] == {"x": 3, "y": None}
    assert made.num_rows == 4


def test_types_that_do_not_go_together_name_the_file(tmp_path):
    with pytest.raises(UserError, match=r"^b: column 'x' has the type int64 in some rows and str"):
        worked(tmp_path, ("a", {"x": [1]}), ("b", {"x": ["1"]}))


def test_files_without_rows(tmp_path):
    none = pa.array([], pa.int64())
    _, found, _ = worked(
        tmp_path, ("a", {"x": none}), ("b", {"x": [1]}), ("c", {"x": none}), ("d", {"x": [2]}),
        derive={"of": "{{ file }}"},
    )  # fmt: skip
    assert [row["of"] for row in found] == ["b", "d"]
