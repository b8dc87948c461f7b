"""Tests of columns and turn fields that are accounted for."""

import pyarrow as pa
import pytest
from pyarrow import parquet

from blossomtune.config.preprocessing import PreprocessingSettings
from blossomtune.data.tokenization.column_use import check_column_use
from blossomtune.errors import UserError

TURN = {"role": "user", "content": "q", "name": "Ann", "stamp": 3}


def check(folder, row, used, ignore_columns=(), files=1):
    paths = [folder / f"{i}.parquet" for i in range(files)]
    schema = pa.Table.from_pylist([row]).schema
    for path in paths:
        is_last = path == paths[-1]
        rows = [row if is_last else dict.fromkeys(row)]
        parquet.write_table(pa.Table.from_pylist(rows, schema), path)
    config = PreprocessingSettings(ignore_columns=list(ignore_columns)).model_dump()
    return check_column_use(config, used, paths)


def test_columns_and_fields_are_listed(tmp_path):
    row = {"id": 1, "messages": [TURN], "domain": "x"}
    assert check(tmp_path, row, ["messages"]).model_dump() == {
        "columns": ["messages"],
        "ignored_columns": ["id", "domain"],
        "turn_fields": ["messages.content", "messages.name", "messages.role"],
        "ignored_turn_fields": ["messages.stamp"],
    }
    ignored = check(tmp_path, row, ["messages"], ["messages.name", "id"])
    assert ignored.ignored_turn_fields == ["messages.name", "messages.stamp"]


@pytest.mark.parametrize("name", ["system", "history", "tools", "images", "Context", "answer"])
@pytest.mark.parametrize("files", [1, 2])
def test_unread_content_is_an_error(tmp_path, name, files):
    row = {"prompt": "q", "completion": "a", name: "x"}
    used = ["prompt", "completion"]
    with pytest.raises(UserError, match=f"column '{name}' looks like training content") as error:
        check(tmp_path, row, used, files=files)
    assert f"ignore_columns: [{name}]" in str(error.value)
    assert check(tmp_path, row, used, [name], files=files).ignored_columns == [name]


@pytest.mark.parametrize("value", [None, "", []])
def test_unread_content_without_a_value_is_ignored(tmp_path, value):
    row = {"prompt": "q", "completion": "a", "images": value}
    assert check(tmp_path, row, ["prompt", "completion"]).ignored_columns == ["images"]


def test_unread_column_of_turns_is_an_error_by_any_name(tmp_path):
    row = {"prompt": "q", "completion": "a", "talk": [TURN]}
    with pytest.raises(UserError, match="column 'talk' looks like training content"):
        check(tmp_path, row, ["prompt", "completion"])


def test_unread_content_of_a_turn_is_an_error(tmp_path):
    row = {"messages": [TURN | {"images": ["x"]}]}
    with pytest.raises(UserError, match=r"turn field 'messages\.images' looks like training"):
        check(tmp_path, row, ["messages"])
    assert check(tmp_path, {"messages": [TURN | {"images": []}]}, ["messages"])
    assert check(tmp_path, row, ["messages"], ["messages.images"])


def test_rejected_answers_need_no_key_beside_chosen_ones(tmp_path):
    row = {"prompt": "q", "chosen": "a", "rejected": "b"}
    assert check(tmp_path, row, ["prompt", "chosen"]).ignored_columns == ["rejected"]


def test_ignored_columns_must_exist_and_be_unread(tmp_path):
    row = {"prompt": "q", "completion": "a", "systen": "x"}
    used = ["prompt", "completion"]
    with pytest.raises(UserError, match="ignore_columns: there is no column 'system'; did you"):
        check(tmp_path, row, used, ["system"])
    with pytest.raises(UserError, match="ignore_columns: 'prompt' is a column that is read"):
        check(tmp_path, row, used, ["prompt"])


def test_missing_columns_are_left_to_the_rows_errors(tmp_path):
    assert check(tmp_path, {"text": "q"}, ["txet"]).ignored_columns == ["text"]
