"""Tests of the batches of rows."""

from blossomtune.modeling import batches
from blossomtune.modeling.batches import iterate_batches


def test_batches_keep_the_order_of_the_rows():
    widths = [(9,), (2,), (8,), (1,), (7,)]
    assert list(iterate_batches([3, 1, 4, 2, 0], widths, 2)) == [[3, 1], [4, 2], [0]]
    assert list(iterate_batches([], widths, 2)) == []


def test_long_rows_form_smaller_batches(monkeypatch):
    monkeypatch.setattr(batches, "MAX_BATCH_TOKENS", 40)
    widths = [(10,), (10,), (10,), (20,), (50,), (1,)]
    assert list(iterate_batches(range(6), widths, 32)) == [[0, 1, 2], [3], [4], [5]]


def test_each_part_of_a_row_is_padded_to_the_longest(monkeypatch):
    monkeypatch.setattr(batches, "MAX_BATCH_TOKENS", 40)
    assert list(iterate_batches([0, 1], [(19, 1), (1, 1)], 32)) == [[0, 1]]
    assert list(iterate_batches([0, 1], [(19, 1), (1, 2)], 32)) == [[0], [1]]
