"""Invitations that this version writes pass the check; the forged ones are in test_client_setup."""

import pytest
from external_clients import CLIENTS

from blossomtune.deployment.bundle_checks import check_settings
from blossomtune.errors import UserError
from blossomtune.files import read_json


@pytest.fixture
def bundle(external_files):
    return read_json(external_files / "keys/invitations/x/north/invitation.json")


@pytest.mark.parametrize("name", CLIENTS)
def test_written_invitation_is_accepted(bundle, name):
    check_settings(bundle, name, bundle["superlink"])


@pytest.mark.parametrize(
    "arguments",
    [
        {"optim": "adopt", "max_steps": 3, "weight_decay": 0.1, "bf16": False},
        {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}},
    ],
)
def test_numbers_and_optimizers_are_accepted(bundle, arguments):
    bundle["federate"]["training"]["arguments"] = arguments
    check_settings(bundle, "north", bundle["superlink"])


@pytest.mark.parametrize("key", ["model", "federate", "partition", "preprocessing"])
def test_missing_settings_are_rejected(bundle, key):
    del bundle[key]
    with pytest.raises(UserError, match=key):
        check_settings(bundle, "north", bundle["superlink"])


@pytest.mark.parametrize("value", [None, [], "x", {}, {"seed": 1}])
def test_settings_of_another_type_are_rejected(bundle, value):
    for key in ("federate", "partition"):
        with pytest.raises(UserError, match="ask the server's owner for an invitation"):
            check_settings(bundle | {key: value}, "north", bundle["superlink"])
