"""Tests of the notes of worker processes."""

import os
import time

import pytest

from blossomtune import worker_notes


def run_in_child(function):
    """Run a function in a forked process, whose notes stay its own."""
    pid = os.fork()
    if not pid:
        function()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def note(slots, index, *, end=False):
    worker_notes.use_slot(slots, index)
    worker_notes.note_file("a.csv")
    worker_notes.note_row(5)
    worker_notes.note_start("derive.x")
    if end:
        worker_notes.note_end()


def test_overdue_call_is_found_with_file_and_row():
    slots = worker_notes.allocate_slots(3)
    run_in_child(lambda: note(slots, 0, end=True))
    run_in_child(lambda: note(slots, 1))
    time.sleep(0.01)
    assert worker_notes.find_overdue(slots, 0.01) == "a.csv: row 5: derive.x"
    assert worker_notes.find_overdue(slots, 60) is None


def test_finished_call_is_not_overdue():
    slots = worker_notes.allocate_slots(1)
    run_in_child(lambda: note(slots, 0, end=True))
    assert worker_notes.find_overdue(slots, 0) is None


@pytest.mark.parametrize("name", ["x" * 9999, "ü" * 9999, "\ud800"])
def test_any_name_fits_into_a_slot(name):
    slots = worker_notes.allocate_slots(2)

    def write():
        worker_notes.use_slot(slots, 0)
        worker_notes.note_start(name)

    run_in_child(write)
    assert worker_notes.find_overdue(slots, 0)
    assert bytes(slots[worker_notes.SLOT_BYTES :]) == bytes(worker_notes.SLOT_BYTES)


def test_process_that_is_no_worker_writes_no_notes():
    worker_notes.note_start("x")
    worker_notes.note_end()
    assert not worker_notes.is_worker()
    assert worker_notes.add_place("text").endswith("text")
