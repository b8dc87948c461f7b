"""Trackers are one name or a list, and their packages are looked for before any job."""

import sys

import pytest
from pydantic import TypeAdapter, ValidationError

from blossomtune.config.tracking import PACKAGES, Trackers, require_packages
from blossomtune.errors import UserError

TRACKERS = TypeAdapter(Trackers)


def test_one_name_is_a_list_of_one():
    assert TRACKERS.validate_python("mlflow") == ["mlflow"]
    assert TRACKERS.validate_python(["wandb", "trackio"]) == ["wandb", "trackio"]


@pytest.mark.parametrize("value", ["comet", ["mlflow", "mlflow"], 1])
def test_other_values_are_errors(value):
    with pytest.raises(ValidationError):
        TRACKERS.validate_python(value)


def test_missing_package_is_an_error_that_says_what_to_install(monkeypatch):
    require_packages(list(PACKAGES))  # the lock has them all
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(UserError, match="python -m pip install mlflow-skinny"):
        require_packages(["wandb", "mlflow"])
