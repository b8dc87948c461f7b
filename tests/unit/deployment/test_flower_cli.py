"""Tests of runs on a SuperLink of Flower's own, by its own command line."""

import time

import pytest
from stock_flower import StockFlower

from blossomtune.deployment.flower_cli import FlowerCli
from blossomtune.deployment.flower_connection import Connection
from blossomtune.deployment.flower_superexec import start_superexec
from blossomtune.errors import UserError

APP = """
[project]
name = "idle"
version = "1.0.0"
license = "Apache-2.0"
[tool.flwr.app]
publisher = "nobody"
[tool.flwr.app.components]
serverapp = "idle:server"
clientapp = "idle:client"
[tool.flwr.app.config]
run = ""
"""


@pytest.fixture(scope="module")
def superlink(tmp_path_factory):
    """Start a SuperLink that starts no ServerApp itself."""
    flower = StockFlower(tmp_path_factory.mktemp("flower"), ["north"], isolation="process")
    try:
        flower.start_superlink()
        yield flower
    finally:
        flower.stop()


@pytest.fixture
def app(tmp_path):
    """Return the folder of an app that is never started."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app/pyproject.toml").write_text(APP)
    (tmp_path / "app/idle.py").write_text("server = client = None\n")
    return tmp_path / "app"


def test_run_is_submitted_followed_and_stopped(superlink, app, tmp_path):
    cli, config = FlowerCli("lab", superlink.home), tmp_path / "run_config.toml"
    run_id = cli.start_run(app, {"run": 'a "path"\\ of ours'}, config)
    cli.stop_run(run_id)  # an error if it had ended
    status = cli.get_status(run_id)
    assert status.is_finished and status.status == "finished:stopped"


def test_refused_run_is_an_error_with_the_superlinks_reason(superlink, app, tmp_path):
    cli = FlowerCli("lab", superlink.home)
    with pytest.raises(UserError, match=r"(?s)flwr run: .*Invalid run configuration"):
        cli.start_run(app, {"unknown": "x"}, tmp_path / "run_config.toml")


def test_superlink_that_is_not_there_is_an_error(tmp_path):
    (tmp_path / "config.toml").write_text(
        '[superlink.lab]\naddress = "127.0.0.1:9"\ninsecure = true\n'
    )
    with pytest.raises(UserError, match="flwr ls: Connection to the SuperLink is unavailable"):
        FlowerCli("lab", tmp_path).get_status("1")


def test_superexec_with_another_secret_is_an_error(superlink, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("another")
    connection = Connection(
        "lab", superlink.home, superlink.address, superlink.keys.ca_certificate, True
    )
    superexec = start_superexec(connection, str(secret), tmp_path / "home", tmp_path / "a.log")
    with superexec as require_running, pytest.raises(UserError, match="flower-superexec has ended"):
        for _ in range(3000):
            require_running()
            time.sleep(0.1)


def test_missing_secret_is_an_error(tmp_path):
    connection = Connection("lab", tmp_path, "127.0.0.1:9", None, False)
    superexec = start_superexec(connection, "/nowhere", tmp_path, tmp_path / "a.log")
    with pytest.raises(UserError, match="superexec_secret: there is no file /nowhere"):
        superexec.__enter__()
    assert list(tmp_path.iterdir()) == []
