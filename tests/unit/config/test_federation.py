import pytest

from blossomtune.config.federation import FederationSettings

EXTERNAL = {"name": "external", "host": "example.org"}
FLOWER = {"name": "flower", "connection": "lab"}


@pytest.mark.parametrize(
    ("engine", "cores"), [("simulation", 10), ("process", 10), (EXTERNAL, 2), (FLOWER, 2)]
)
def test_cores_are_requested_for_clients_that_train_here(engine, cores):
    assert FederationSettings(engine=engine, threads_per_client=2).count_threads(5) == cores
