"""Fixtures of the privacy tests."""

import pytest

from blossomtune.deployment.flower_internal import set_task_identity


@pytest.fixture(autouse=True)
def flower_task():
    """Set the task identity that Flower needs to create messages."""
    set_task_identity(1, 1, 1)
