"""Tests of the paths of a federation."""

import pytest
from pydantic import ValidationError

from blossomtune.federation.paths import ClientPaths, ServerPaths

SHARED = {"model": "m", "preprocessed": "p", "checkpoints": "c"}


def test_clients_do_not_get_the_server_s_outputs():
    paths = ServerPaths(**SHARED, adapter="a", history="h")
    assert paths.for_clients() == ClientPaths(**SHARED)


def test_unknown_path_is_rejected():
    with pytest.raises(ValidationError, match="adapter"):
        ClientPaths(**SHARED, adapter="a")
