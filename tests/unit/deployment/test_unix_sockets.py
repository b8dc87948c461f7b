import socket

from blossomtune.deployment.unix_sockets import listen_on


def test_socket_is_accessible_to_its_owner_only(tmp_path):
    path = tmp_path / "api.sock"
    path.touch()  # left by an earlier process
    with listen_on(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        assert path.stat().st_mode & 0o777 == 0o600
