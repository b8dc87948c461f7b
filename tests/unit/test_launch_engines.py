"""Every engine of the configuration has what runs it."""

import inspect
from importlib import import_module

import pytest

from blossomtune.config.engines import ENGINES
from blossomtune.launch.deployment import RUNNERS
from blossomtune.launch.parts import Runner


def test_engines_and_runners_are_the_same_but_for_the_simulation():
    assert set(ENGINES) - set(RUNNERS) == {"simulation"}


@pytest.mark.parametrize("name", RUNNERS)
def test_a_runner_has_all_that_one_has(name):
    runner = getattr(import_module(f"blossomtune.launch.{name}"), RUNNERS[name])
    assert list(inspect.signature(runner).parameters) == ["logs", "scratch", "engine"]
    methods = {n for n in vars(Runner) if inspect.isfunction(vars(Runner)[n]) and n != "__init__"}
    assert all(hasattr(runner, name) for name in methods - {"_no_init_or_replace_init"})
