import socket

import httpx

from blossomtune.deployment.unix_sockets import KEEP_ALIVE_SECONDS, listen_on


def test_socket_is_accessible_to_its_owner_only(tmp_path):
    path = tmp_path / "api.sock"
    path.touch()  # left by an earlier process
    with listen_on(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        assert path.stat().st_mode & 0o777 == 0o600


def test_server_keeps_idle_connections_longer_than_a_client_uses_them():
    assert httpx.Limits().keepalive_expiry * 2 < KEEP_ALIVE_SECONDS
