"""Tests of the table of different texts."""

from blossomtune.data.leaks.text_table import TextTable


def test_each_text_is_stored_once(tmp_path):
    table = TextTable(tmp_path / "texts.arrow")
    assert table.add(["a", "b", "a", None, ""]).tolist() == [0, 1, 0, -1, 2]
    assert table.add([]).tolist() == []
    assert table.add(["é", "b", "é"]).tolist() == [3, 1, 3]
    assert table.read().to_pylist() == ["a", "b", "", "é"]


def test_table_may_be_empty(tmp_path):
    table = TextTable(tmp_path / "texts.arrow")
    assert table.add([None]).tolist() == [-1]
    assert table.read().to_pylist() == []
