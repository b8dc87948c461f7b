"""Bars are drawn on a terminal, by one process at a time, and nowhere else."""

import os
import select
import subprocess
import sys
import tty

import pytest

from blossomtune import terminal_bar
from blossomtune.terminal_bar import iterate_with_bar


@pytest.fixture
def terminal(monkeypatch):
    """Return a function that reads what was drawn on a terminal."""
    reader, writer = os.openpty()
    tty.setraw(writer)
    # no Snakemake has started the tests; the last test finds a terminal through one
    monkeypatch.setattr(terminal_bar, "find_terminal", lambda: os.ttyname(writer))
    monkeypatch.setenv("TQDM_DISABLE", "1")

    def read():
        """Return all text; a terminal passes it on in pieces."""
        text = b""
        while select.select([reader], [], [], 0.2)[0]:
            text += os.read(reader, 10_000)
        return text.decode()

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
    # no Snakemake has started the tests
    monkeypatch.setattr(terminal_bar, "find_terminal", lambda: os.ttyname(writer))
    items = iterate_with_bar(range(3), "round", total=3)
    assert next(items) == 0
    os.close(reader)
    os.close(writer)
    assert list(items) == [1, 2]


def test_without_a_terminal_nothing_is_drawn(monkeypatch, tmp_path, capfd):
    monkeypatch.chdir(tmp_path)
    assert list(iterate_with_bar("ab", "round", total=2)) == ["a", "b"]
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def snakemake(tmp_path):
    """Return a program of this name that prints the terminal that a process below it finds."""
    program = tmp_path / "snakemake"
    child = "from blossomtune.terminal_bar import find_terminal; print(find_terminal())"
    program.write_text(
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    )
    return [sys.executable, str(program)]


def find(program, stderr):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        program, stdout=subprocess.PIPE, stderr=stderr, text=True, check=True, env=environment
    )
    return done.stdout.strip()


def test_terminal_is_the_standard_error_of_snakemake(snakemake):
    reader, writer = os.openpty()
    assert find(snakemake, writer) == os.ttyname(writer)
    os.close(reader)
    os.close(writer)


def test_log_file_of_snakemake_is_no_terminal_and_keeps_its_content(snakemake, tmp_path):
    log = tmp_path / "log"
    log.write_text("before\n")
    with log.open("a") as file:
        assert find(snakemake, file) == "None"
    assert log.read_text() == "before\n"
