import pytest
from federation_samples import federation_spec

from blossomtune.config.training import TrainingSettings


@pytest.mark.parametrize(
    ("expected", "keys"),
    [
        (False, {}),
        (False, {"strategy": "fedadam"}),
        (True, {"strategy": "scaffold"}),
        (True, {"aggregation": "flora"}),
        (True, {"communication": {"precision": "int8"}}),
        (True, {"training": TrainingSettings(optimizer_state="kept")}),
    ],
)
def test_clients_have_state_only_if_the_method_needs_it(expected, keys):
    assert federation_spec(**keys).has_client_state == expected


def test_equal_specifications_have_equal_hashes():
    arguments = {"max_steps": 3}
    one, other = (federation_spec(training=TrainingSettings(arguments=arguments)) for _ in "12")
    assert one == other
    assert hash(one) == hash(other)
    assert hash(one) != hash(federation_spec())


def test_clients_get_no_path_of_the_privacy_secret():
    spec = federation_spec(aggregation="ffa", privacy={"secret": "/etc/secret"})
    redacted = spec.redact_for_clients()
    assert redacted.federation.privacy.secret is None
    assert redacted == federation_spec(aggregation="ffa", privacy={})
    assert spec.federation.privacy.secret == "/etc/secret"
