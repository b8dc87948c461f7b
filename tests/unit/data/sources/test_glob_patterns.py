"""Tests of glob patterns over names."""

import pytest

from blossomtune.data.sources import glob_patterns


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*.txt", "a.txt", True),
        ("*.txt", "deep/down/a.txt", True),
        ("in/*.txt", "in/a.txt", True),
        ("in/*.txt", "in/deep/a.txt", False),
        ("in/**/*.txt", "in/a.txt", True),
        ("in/**/*.txt", "in/deep/er/a.txt", True),
        ("**", "any/thing", True),
        ("a?.txt", "ab.txt", True),
        ("a.txt", "abtxt", False),
        ("a[1].txt", "a[1].txt", True),
    ],
)
def test_pattern_matches_whole_names(pattern, name, matches):
    assert bool(glob_patterns.compile_glob(pattern).fullmatch(name)) is matches
