"""Contract of Flower's non-public parts: a failure names what an upgrade has changed."""

import inspect
import subprocess
import sys
from multiprocessing import Pipe
from pathlib import Path

import httpx
import pytest
from flwr.app import Message, RecordDict
from flwr.serverapp import strategy as strategies

from blossomtune.deployment import flower_internal as flower
from blossomtune.deployment import superlink

ROOT = Path(__file__).parents[3]


def parameters(function):
    return list(inspect.signature(function).parameters)


@pytest.fixture
def message():
    flower.set_task_identity(1, 2, 3)
    return Message(RecordDict(), 4, "train")


def test_supported_version_is_the_pinned_one():
    requirements = (ROOT / "envs/requirements.in").read_text().splitlines()
    assert f"flwr[simulation]=={flower.SUPPORTED_VERSION}" in requirements


def test_other_version_is_an_error():
    program = """
import importlib.metadata
importlib.metadata.version = lambda name: "0.1.0"
import blossomtune.deployment.flower_internal
"""
    process = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT / "workflow_scripts",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "UserError: flwr 0.1.0 is installed, and this workflow uses non-public parts of" in (
        process.stderr
    )
    assert "hint: install envs/requirements.lock" in process.stderr


@pytest.mark.parametrize("client_class", [flower.ControlHttpClient, flower.RuntimeHttpClient])
def test_client_can_be_connected_to_a_unix_socket(client_class, tmp_path):
    assert isinstance(client_class("http://localhost", interceptors=[])._client, httpx.Client)
    client = flower.connect_client(client_class, tmp_path / "socket", [])
    assert client._client._transport._pool._uds == str(tmp_path / "socket")
    with pytest.raises(httpx.ConnectError):
        client._client.get("http://localhost/")


def test_link_state_can_be_patched_to_reconnect(tmp_path):
    calls = []

    class LinkState:
        def activate_node(self, node_id, heartbeat_interval):
            calls.append(("activate", node_id, heartbeat_interval))
            return True

        def deactivate_node(self, node_id):
            calls.append(("deactivate", node_id))

    assert parameters(flower.LinkState.activate_node) == ["self", "node_id", "heartbeat_interval"]
    assert parameters(flower.LinkState.deactivate_node) == ["self", "node_id"]
    state, file = LinkState(), tmp_path / "reconnects"
    flower.allow_reconnect(state, file)
    assert state.activate_node(5, 30.0)
    assert not file.exists()
    assert state.activate_node(5, 30.0)
    assert file.read_text() == "5\n"
    assert calls == [("deactivate", 5), ("activate", 5, 30.0)] * 2


def test_supernode_notifies_of_stored_messages(monkeypatch):
    module = flower.supernode_module
    assert inspect.signature(module._pull_and_store_message).return_annotation == int | None
    assert "_pull_and_store_message(" in inspect.getsource(module.start_client_internal)
    run_ids = iter([None, 7])
    monkeypatch.setattr(module, "_pull_and_store_message", lambda state: next(run_ids))
    receiver, sender = Pipe(duplex=False)
    flower.notify_on_message(sender)
    assert module._pull_and_store_message(state=None) is None
    assert not receiver.poll()
    assert module._pull_and_store_message(state=None) == 7
    assert receiver.recv_bytes() == b"!"


def test_grid_connects_with_its_own_client():
    grid = flower.HttpGrid(token="secret")
    assert grid._client is None
    assert grid._token == "secret"
    assert parameters(flower.HttpGrid._connect) == ["self"]
    assert "self._connect()" in inspect.getsource(flower.HttpGrid._runtime_client.fget)
    assert parameters(flower.HttpGrid.push_messages) == ["self", "messages"]
    assert parameters(flower.HttpGrid.pull_messages) == ["self", "message_ids"]


def test_message_has_the_task_identity_and_its_ids_can_be_set(message):
    assert (message.metadata.run_id, message.metadata.src_node_id) == (2, 3)
    flower.set_message_id(message, "a")
    flower.set_reply_to_message_id(message, "b")
    assert message.metadata.message_id == "a"
    assert message.metadata.reply_to_message_id == "b"


def test_superlink_app_is_created_from_our_configuration():
    app = flower.create_superlink_app(
        superlink._build_config("127.0.0.1", 1, None), flower.SuperLinkLifespan
    )
    assert isinstance(app.state.linkstate_factory.state(), flower.LinkState)
    paths = {context.path for context in _route_contexts(app)}
    assert any(path.startswith(superlink.FLEET_PREFIX) for path in paths)


def _route_contexts(app):
    from fastapi.routing import iter_route_contexts

    return iter_route_contexts(app.routes)


def test_functions_have_the_parameters_that_we_pass():
    assert parameters(flower.pull_task_input)[:1] == ["client"]
    assert parameters(flower.push_message)[:3] == ["client", "message", "context"]
    assert {
        *("state_factory", "server_address", "node_config", "root_certificates", "insecure"),
        *("authentication_keys", "isolation", "runtime_dependency_install"),
    } <= set(parameters(flower.start_client_internal))
    assert parameters(flower.make_task_heartbeat_fn_http)[:1] == ["client"]
    assert parameters(flower.Fab)[:3] == ["hash_str", "content", "verifications"]
    assert {flower.TaskType.SERVER_APP, flower.TaskType.CLIENT_APP} <= set(flower.TaskType)


@pytest.mark.parametrize("name", ["FedAdam", "FedAdagrad", "FedYogi"])
def test_adaptive_strategies_have_their_moments_as_attributes(name):
    strategy = getattr(strategies, name)()
    assert (strategy.current_arrays, strategy.m_t, strategy.v_t) == (None, None, None)


def test_momentum_strategy_has_its_momentum_as_attribute():
    strategy = strategies.FedAvgM()
    assert (strategy.current_arrays, strategy.momentum_vector) == (None, None)


def test_adaptive_clipping_updates_its_norm_in_one_method():
    for name in (
        "DifferentialPrivacyServerSideAdaptiveClipping",
        "DifferentialPrivacyClientSideAdaptiveClipping",
    ):
        strategy = getattr(strategies, name)(strategies.FedAvg(), 0.1, 3)
        assert parameters(strategy._geometric_update) == ["clipped_fraction"]
        assert strategy.clipping_norm == 0.1
