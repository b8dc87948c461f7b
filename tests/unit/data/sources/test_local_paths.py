"""Tests of home folders and patterns in local paths."""

import pytest

from blossomtune.data.sources.local_paths import find_base_folder, find_local_paths
from blossomtune.errors import UserError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Write some files, and make their folder the home and working folder."""
    for name in ("a.csv", "b.csv", ".c.csv", "more/a.csv", "more/deep/d.csv", "x?.csv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.csv", ["a.csv"]),
        ("x?.csv", ["x?.csv"]),
        ("?.csv", ["a.csv", "b.csv"]),
        ("*/a.csv", ["more/a.csv"]),
        ("**/a.csv", ["a.csv", "more/a.csv"]),
        ("m*/**/*.csv", ["more/a.csv", "more/deep/d.csv"]),
        ("more/**", ["more/a.csv", "more/deep"]),
        ("**", ["a.csv", "b.csv", "more", "x?.csv"]),
        ("m**", ["more"]),
    ],
)
def test_pattern_matches_files_and_folders(folder, pattern, names):
    for prefix in ("", "./", "~/", f"{folder}/"):
        found = find_local_paths(prefix + pattern)
        assert [path.absolute().relative_to(folder).as_posix() for path in found] == names
        base = find_base_folder(prefix + pattern)
        assert all(path.is_relative_to(base) for path in found)


def test_pattern_without_match_is_rejected(folder):
    with pytest.raises(UserError, match=r"matches '\*\.txt'; '\.' has .*a\.csv, b\.csv, more"):
        find_local_paths("*.txt")
    with pytest.raises(UserError, match=r"there is no file or folder 'a\.txt'"):
        find_local_paths("a.txt")
