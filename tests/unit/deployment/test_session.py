"""Each engine of the configuration has a backend."""

import inspect
from importlib import import_module

import pytest

from blossomtune.config.engines import ENGINES
from blossomtune.deployment.backend import Backend
from blossomtune.deployment.session import BACKENDS


def test_each_engine_that_starts_processes_of_ours_has_a_backend():
    assert set(ENGINES) - set(BACKENDS) == {"simulation", "flower"}


@pytest.mark.parametrize("name", BACKENDS)
def test_backend_implements_the_protocol(name):
    backend = getattr(import_module(f"blossomtune.deployment.{name}"), BACKENDS[name])
    assert list(inspect.signature(backend).parameters) == ["log_dir", "scratch_dir", "engine"]
    methods = {n for n in vars(Backend) if inspect.isfunction(vars(Backend)[n]) and n != "__init__"}
    assert all(hasattr(backend, name) for name in methods - {"_no_init_or_replace_init"})
