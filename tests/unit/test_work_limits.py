"""Tests of the limits of time, memory and output."""

import os
import re
import resource
import signal
import threading

import pytest
from endless_templates import NESTED_LOOPS, TOO_LARGE

from blossomtune import work_limits
from blossomtune.data.templates import Expression, Template
from blossomtune.work_limits import WorkLimitError, run_limited


@pytest.fixture(autouse=True)
def short_time(monkeypatch):
    monkeypatch.setattr(work_limits, "CPU_SECONDS", 0.3)


def test_result_is_returned_and_limits_are_lifted():
    before = resource.getrlimit(resource.RLIMIT_AS)
    assert run_limited("x", sorted, [2, 1]) == [1, 2]
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_address_space_is_limited_during_the_call():
    limits = run_limited("x", resource.getrlimit, resource.RLIMIT_AS)
    assert limits[0] < work_limits.MEMORY_BYTES + 2**40
    assert limits[0] != resource.RLIM_INFINITY


@pytest.mark.parametrize(
    "function",
    [
        lambda: Template("derive.x", NESTED_LOOPS).render({"text": "a"}, "row 3"),
        lambda: run_limited("derive.x", lambda: 7 ** (10**8)),
        lambda: run_limited("derive.x", re.findall, "(a+)+$", "a" * 40 + "b"),
    ],
    ids=["loops", "power", "regular expression"],
)
def test_call_that_does_not_end_is_ended(function):
    with pytest.raises(WorkLimitError, match=r"^derive\.x takes more than 0\.3 s of processor"):
        function()


def test_filter_that_does_not_end_is_ended():
    source = "range(99999) | map('center', 9999) | map('upper') | map('length') | sum > n"
    with pytest.raises(WorkLimitError, match=r"^filter takes more than"):
        Expression("filter", source).evaluate({"n": 1}, "row 3")


@pytest.mark.parametrize("source", TOO_LARGE.values(), ids=TOO_LARGE)
def test_template_that_needs_too_much_memory_is_ended(source):
    with pytest.raises(WorkLimitError, match=r"^derive\.x needs more than 1024 MiB of memory$"):
        Template("derive.x", source).render({"text": "a"}, "row 3")


def test_memory_of_a_failed_call_is_free_afterwards():
    def fail():
        large = bytes(2**29)
        raise ValueError(len(large))

    for _ in range(9):  # together more than the limit
        with pytest.raises(ValueError, match="536870912"):
            run_limited("x", fail)


def test_too_long_text_is_rejected():
    with pytest.raises(WorkLimitError, match=r"^x writes 16777217 characters; at most 16777216"):
        run_limited("x", str.__mul__, "a", work_limits.MAX_CHARACTERS + 1)


def test_other_threads_have_no_timer():
    results = []
    thread = threading.Thread(target=lambda: results.append(run_limited("x", os.getpid)))
    thread.start()
    thread.join()
    assert results == [os.getpid()]


def test_errors_of_the_function_are_raised():
    with pytest.raises(ZeroDivisionError):
        run_limited("x", lambda: 1 / 0)
