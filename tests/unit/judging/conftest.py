"""Endpoints and settings of a judge model."""

import pytest
from local_endpoint import LocalEndpoint

from blossomtune.config.judge import JudgeSettings
from blossomtune.data.sources import retry
from blossomtune.judging.client import API_KEY_VARIABLE


@pytest.fixture(autouse=True)
def no_delay(monkeypatch):
    monkeypatch.setattr(retry, "INITIAL_DELAY", 0.0)
    monkeypatch.delenv(API_KEY_VARIABLE, raising=False)


@pytest.fixture
def start_endpoint():
    """Return a function that starts an endpoint; all are stopped at the end."""
    endpoints = []

    def start(reply="A"):
        endpoints.append(LocalEndpoint(reply if callable(reply) else lambda body: reply))
        return endpoints[-1]

    yield start
    for endpoint in endpoints:
        endpoint.stop()


@pytest.fixture
def build_settings():
    """Return a function of keys to the block ``evaluation.judge`` with its defaults."""

    def build(base_url="http://127.0.0.1:9/v1", **keys):
        block = {"base_url": base_url, "model": "judge-1", "timeout": 5} | keys
        return JudgeSettings.model_validate(block).model_dump(mode="json")

    return build
