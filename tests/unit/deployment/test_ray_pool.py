import inspect
import re

import pytest
from flwr.server.superlink.fleet.vce.backend import raybackend  # oracle

from blossomtune.deployment.flower_internal import replace_actor_pool
from blossomtune.deployment.ray_pool import ResilientActorPool, count_places


@pytest.mark.parametrize(
    ("resources", "num_cpus", "num_gpus", "places"),
    [
        ({"CPU": 4.0}, 1, 0, 4),
        ({"CPU": 4.0}, 3, 0, 1),
        ({"CPU": 4.0}, 1, 1, 0),
        ({"CPU": 4.0, "GPU": 1.0}, 1, 1 / 3, 3),
        ({"CPU": 16.0, "GPU": 4.0}, 1, 2, 2),
        ({}, 1, 0, 0),
    ],
)
def test_cpus_and_gpus_limit_the_clients_of_a_node(resources, num_cpus, num_gpus, places):
    assert count_places({"Alive": True, "Resources": resources}, num_cpus, num_gpus) == places


def test_no_client_fits_on_a_node_that_has_left():
    assert count_places({"Alive": False, "Resources": {"CPU": 4.0}}, 1, 0) == 0


def test_flowers_backend_uses_nothing_that_the_pool_lacks(monkeypatch):
    monkeypatch.setattr(raybackend, "BasicActorPool", raybackend.BasicActorPool)
    keywords = inspect.signature(raybackend.BasicActorPool).parameters
    assert keywords.keys() <= inspect.signature(ResilientActorPool).parameters.keys()
    used = set(re.findall(r"\bself\.pool\.(\w+)", inspect.getsource(raybackend.RayBackend)))
    assert used
    assert used - {"actors_capacity", "num_actors"} <= set(dir(ResilientActorPool))
    replace_actor_pool(ResilientActorPool)
    assert raybackend.BasicActorPool is ResilientActorPool
    assert "BasicActorPool(" in inspect.getsource(raybackend.RayBackend.build)
