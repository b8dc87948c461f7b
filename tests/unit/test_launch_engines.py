"""Every engine of the configuration has what runs it."""

import inspect
from importlib import import_module

import pytest

from blossomtune.config.engines import ENGINES
from blossomtune.deployment.backend import Backend
from blossomtune.deployment.session import BACKENDS


def test_engines_and_runners_are_the_same_but_for_the_simulation():
    assert set(ENGINES) - set(BACKENDS) == {"simulation"}


@pytest.mark.parametrize("name", BACKENDS)
def test_a_runner_has_all_that_one_has(name):
    runner = getattr(import_module(f"blossomtune.deployment.{name}"), BACKENDS[name])
    assert list(inspect.signature(runner).parameters) == ["log_dir", "scratch_dir", "engine"]
    methods = {n for n in vars(Backend) if inspect.isfunction(vars(Backend)[n]) and n != "__init__"}
    assert all(hasattr(runner, name) for name in methods - {"_no_init_or_replace_init"})
