import pytest

from blossomtune.deployment.ray_cluster import connect
from blossomtune.errors import UserError


def test_an_address_without_a_cluster_is_an_error_at_once():
    with pytest.raises(UserError, match=r"engine\.address: no Ray cluster at '127\.0\.0\.1:1': "):
        connect("127.0.0.1:1")
