"""Bars are drawn on a terminal, by one process at a time, and nowhere else."""

import os
import tty

import pytest

from blossomtune.terminal_bar import TERMINAL_VARIABLE, iterate_with_bar


@pytest.fixture
def terminal(monkeypatch):
    """Return a function that reads what was drawn on a terminal."""
    reader, writer = os.openpty()
    tty.setraw(writer)
    os.set_blocking(reader, False)
    monkeypatch.setenv(TERMINAL_VARIABLE, os.ttyname(writer))
    monkeypatch.setenv("TQDM_DISABLE", "1")

    def read():
        try:
            return os.read(reader, 10_000).decode()
        except BlockingIOError:
            return ""

    yield read
    os.close(reader)
    os.close(writer)


def test_bar_shows_what_is_done_and_the_next_line_overwrites_it(terminal):
    items = iterate_with_bar("cd", "round", total=4, num_done=2)
    assert next(items) == "c"
    drawn = terminal()
    assert "round 2/4 |###   |" in drawn
    assert drawn.endswith("\r")
    assert len(drawn.strip()) <= len("[Sat Nov 28 15:32:36 2026]")  # the time that Snakemake prints
    assert list(items) == ["d"]
    assert terminal().split("\r")[-2].strip() == ""  # the bar is gone


def test_second_bar_waits_until_the_terminal_is_free(terminal):
    first = iterate_with_bar("ab", "round", total=2)
    next(first)
    terminal()
    assert list(iterate_with_bar("ab", "model", total=2)) == ["a", "b"]
    assert terminal() == ""
    first.close()
    assert list(iterate_with_bar("ab", "model", total=2)) == ["a", "b"]
    assert "model" in terminal()


def test_terminal_that_is_closed_meanwhile_stops_nothing(monkeypatch):
    reader, writer = os.openpty()
    monkeypatch.setenv(TERMINAL_VARIABLE, os.ttyname(writer))
    items = iterate_with_bar(range(3), "round", total=3)
    assert next(items) == 0
    os.close(reader)
    os.close(writer)
    assert list(items) == [1, 2]


@pytest.mark.parametrize("path", [None, "missing/terminal"])
def test_without_a_terminal_nothing_is_drawn(path, monkeypatch, tmp_path, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(TERMINAL_VARIABLE, raising=False)
    if path:
        monkeypatch.setenv(TERMINAL_VARIABLE, path)
    assert list(iterate_with_bar("ab", "round", total=2)) == ["a", "b"]
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
