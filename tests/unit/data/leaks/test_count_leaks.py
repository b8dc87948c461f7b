"""Tests of the comparison of rows and of its counts."""

import functools
import tempfile
from itertools import chain
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from random_texts import change_word, draw_texts, split_shingles

from blossomtune.data.leaks.compare_rows import RowComparison
from blossomtune.data.leaks.count_leaks import count_leaks, find_leaked_rows
from blossomtune.data.leaks.near_duplicates import THRESHOLD
from blossomtune.data.leaks.text_table import TextTable

BASES = draw_texts(4, seed=6)
POOL = [v for base in BASES for v in (base, change_word(base, 1), change_word(base, 2))]
"""Four texts, each followed by two near duplicates of it."""

ROWS = st.lists(st.none() | st.sampled_from(POOL), max_size=8)
HELD_OUT = [(None, "test"), (1, "validation")]


def compare(held_out, training):
    with tempfile.TemporaryDirectory() as folder:
        table = TextTable(Path(folder) / "texts.arrow")
        indices = [table.add(rows) for rows in (*held_out, *training)]
        return RowComparison(table.read(), indices, Path(folder))


def count(held_out, training):
    files = HELD_OUT[: len(held_out)]
    return count_leaks(compare(held_out, training), files, range(len(training)))


@functools.cache
def is_near(one, other):
    a, b = set(split_shingles(one)), set(split_shingles(other))
    return one != other and len(a & b) / len(a | b) >= THRESHOLD


def match(row, others):
    """Return "exact", "near" or None by comparing with each text."""
    others = [other for other in others if other is not None]
    if row is None:
        return None
    if row in others:
        return "exact"
    return "near" if any(is_near(row, other) for other in others) else None


def assert_counts(counts, matches):
    assert (counts.exact, counts.near) == (matches.count("exact"), matches.count("near"))


@given(st.lists(ROWS, min_size=1, max_size=2), st.lists(ROWS, min_size=1, max_size=3))
def test_counts_are_those_of_all_pairs(held_out, training):
    leaks = count(held_out, training)
    held_out_rows, training_rows = [*chain(*held_out)], [*chain(*training)]
    for client, rows in zip(leaks.clients, training, strict=True):
        others = [r for c, other in enumerate(training) if c != client.client for r in other]
        assert_counts(client.held_out, [match(row, held_out_rows) for row in rows])
        assert_counts(client.other_clients, [match(row, others) for row in rows])
        assert_counts(client.own, [match(row, rows[:i]) for i, row in enumerate(rows)])
    for leaked, rows in zip(leaks.held_out, held_out, strict=True):
        matches = [match(row, training_rows) for row in rows]
        assert leaked.exact == [i for i, m in enumerate(matches) if m == "exact"]
        assert leaked.near == [i for i, m in enumerate(matches) if m == "near"]


@given(ROWS, st.lists(ROWS, min_size=1, max_size=3), st.sampled_from(POOL), st.data())
def test_copy_of_a_held_out_row_adds_one(test_rows, training, text, data):
    held_out, client = [[*test_rows, text]], data.draw(st.integers(0, len(training) - 1))
    before = count(held_out, training).clients[client].held_out.exact
    training[client].insert(data.draw(st.integers(0, len(training[client]))), text)
    assert count(held_out, training).clients[client].held_out.exact == before + 1


@given(st.lists(ROWS, min_size=1, max_size=2), st.lists(ROWS, min_size=1, max_size=3))
def test_leaked_rows_are_found_and_nothing_leaks_without_them(held_out, training):
    comparison = compare(held_out, training)
    texts = [[*enumerate(rows)] for rows in held_out]
    for file, rows in enumerate(training, len(held_out)):
        leaked = find_leaked_rows(comparison, range(len(held_out)), file)
        expected = {}
        for i, row in enumerate(rows):
            for test in (row.__eq__, lambda other, row=row: is_near(row, other)):
                at = [(f, j) for f, t in enumerate(texts) for j, r in t if r and row and test(r)]
                if at:
                    expected.setdefault(i, at[0])
        assert leaked == expected
        comparison.exclude_rows(file, np.array([*leaked], dtype=np.int64))
    leaks = count_leaks(comparison, HELD_OUT[: len(held_out)], range(len(training)))
    assert [client.held_out.total for client in leaks.clients] == [0] * len(training)
    assert all(file.exact == file.near == [] for file in leaks.held_out)


def test_known_duplicates_among_many_rows_are_counted():
    texts = draw_texts(3_000, seed=7)
    test, one, other = texts[:500], texts[500:1_500], texts[1_500:]
    near = [change_word(text, i) for i, text in enumerate(texts)]
    one += test[:7] + near[10:15] + test[:2]  # 9 exact, 5 near, of which 2 repeat
    other += near[20:23] + one[:4] + near[510:516]  # 3 near; 4 and 6 are the other client's
    leaks = count([test], [one, other])
    assert leaks.clients[0].held_out.model_dump() == {"exact": 9, "near": 5}
    assert leaks.clients[1].held_out.model_dump() == {"exact": 0, "near": 3}
    assert leaks.clients[0].own.model_dump() == {"exact": 2, "near": 0}
    assert leaks.clients[0].other_clients.model_dump() == {"exact": 4, "near": 6}
    assert leaks.clients[1].other_clients.model_dump() == {"exact": 4, "near": 6}
    assert leaks.held_out[0].exact == [*range(7)]
    assert leaks.held_out[0].near == [*range(10, 15), *range(20, 23)]
    assert leaks.test_rows == [*range(7), *range(10, 15), *range(20, 23)]


def test_clients_without_rows_have_no_duplicates():
    leaks = count([[]], [[], ["a"]])
    assert [client.held_out.total + client.own.total for client in leaks.clients] == [0, 0]
    assert leaks.held_out[0].exact == []


def test_rows_without_text_do_not_count():
    leaks = count([[None, "a"]], [[None, "a"], [None, None]])
    assert [client.held_out.exact for client in leaks.clients] == [1, 0]
    assert leaks.held_out[0].exact == [1]
    assert np.all([client.own.total == 0 for client in leaks.clients])
