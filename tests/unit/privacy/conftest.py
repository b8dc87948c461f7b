"""Fixtures of the privacy tests."""

import pytest
from flwr.supercore.task_identity import TaskIdentity


@pytest.fixture(autouse=True)
def flower_task():
    """Set the task identity that Flower needs to create messages."""
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
