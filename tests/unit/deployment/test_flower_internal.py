"""Contract of Flower's non-public parts: a failure names what an upgrade has changed."""

import inspect
import os
import subprocess
import sys
from multiprocessing import Pipe
from pathlib import Path

import httpx
import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.serverapp import strategy as strategies
from flwr.superlink.servicer.fleet import fleet_handlers  # oracle
from shifted_clock import ShiftedClock

from blossomtune.deployment import fleet_guard, superlink
from blossomtune.deployment import flower_internal as flower

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


def test_link_state_can_be_patched_to_wait_for_offline_nodes(monkeypatch):
    module, name = flower.in_memory_linkstate, flower._FIND_OFFLINE_NODES
    original = flower._find_offline_nodes
    monkeypatch.setattr(module, name, original)
    assert name in inspect.getsource(module.InMemoryLinkState.get_message_res)
    assert parameters(original)[0] == "inquired_in_message_ids"
    flower.report_offline_nodes(())
    message_ids = {"a"}
    assert getattr(module, name)(message_ids, {}, {}) == {}
    assert message_ids == {"a"}


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


def test_unregistered_node_cannot_connect_and_its_key_not_be_registered_again():
    app = flower.create_superlink_app(
        superlink._build_config("127.0.0.1", 1, None), flower.SuperLinkLifespan
    )
    state = app.state.linkstate_factory.state()
    node = state.create_node("owner", "", b"key", 0)
    state.delete_node("owner", node)
    assert state.get_node_id_by_public_key(b"key") is None
    assert not state.activate_node(node, 30.0)
    with pytest.raises(ValueError, match="already in use"):
        state.create_node("owner", "", b"key", 0)


def test_link_state_has_what_the_guard_of_messages_uses():
    state = flower.InMemoryLinkState
    assert parameters(state.store_message_and_object_tree) == [
        *("self", "message", "object_tree", "session_id")
    ]
    assert parameters(state.store_object) == [
        *("self", "run_id", "session_id", "object_id", "object_content")
    ]
    assert parameters(state.get_message_res) == ["self", "message_ids", "run_id"]
    assert parameters(state._cleanup_push_session) == ["self", "session_id", "cleanup_messages"]
    fleet = inspect.getsource(fleet_handlers)
    assert "state.store_message_and_object_tree(" in fleet
    assert "state.store_object(" in fleet


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


def test_message_has_the_task_identity_and_its_id_can_be_set(message):
    assert (message.metadata.run_id, message.metadata.src_node_id) == (2, 3)
    flower.set_message_id(message, "a")
    assert message.metadata.message_id == "a"
    assert Message(RecordDict(), reply_to=message).metadata.reply_to_message_id == "a"


def test_superlink_app_is_created_from_our_configuration():
    app = flower.create_superlink_app(
        superlink._build_config("127.0.0.1", 1, None), flower.SuperLinkLifespan
    )
    assert isinstance(app.state.linkstate_factory.state(), flower.LinkState)
    paths = {context.path for context in _route_contexts(app)}
    assert any(path.startswith(fleet_guard.FLEET_PREFIX) for path in paths)


def test_superlink_keeps_large_objects_in_files(tmp_path):
    store = flower.ObjectStoreFactory().store()
    flower.keep_objects_in_files(store, tmp_path / "objects")
    array = Array(np.arange(50_000, dtype=np.float32))
    record = RecordDict({"arrays": ArrayRecord({"a": array})})
    contents = {i: o.deflate() for i, o in flower.get_all_nested_objects(record).items()}
    large = {i for i, content in contents.items() if len(content) >= flower.MIN_FILE_BYTES}
    store.preregister(1, flower.get_object_tree(record))
    assert [store.get(object_id) for object_id in contents] == [b""] * len(contents)
    for object_id, content in contents.items():
        store.put(object_id, content)
    assert {file.name for file in (tmp_path / "objects").iterdir()} == large
    assert len(large) == 1
    assert sum(len(entry.content) for entry in store.store.values()) < 2000
    assert {object_id: store.get(object_id) for object_id in contents} == contents
    store.delete(record.object_id)
    assert len(store) == 0
    assert list((tmp_path / "objects").iterdir()) == []
    assert store.get(record.object_id) is None


@pytest.mark.parametrize("is_absolute", [True, False])
def test_client_cannot_delete_files_by_the_name_of_an_object(tmp_path, is_absolute):
    store, file = flower.ObjectStoreFactory().store(), tmp_path / "key.pem"
    flower.keep_objects_in_files(store, tmp_path / "objects")
    file.write_text("secret")
    name = str(file) if is_absolute else "../key.pem"
    assert store.get(name) is None
    store.delete(name)
    assert file.read_text() == "secret"


def test_superlink_has_one_store_in_memory():
    app = flower.create_superlink_app(
        superlink._build_config("127.0.0.1", 1, None), flower.SuperLinkLifespan
    )
    factory = app.state.linkstate_factory
    store = factory.objectstore_factory.store()
    assert isinstance(store, flower.InMemoryObjectStore)
    assert factory.state().object_store is store


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
        assert parameters(strategy._noisy_fraction) == ["count", "total"]
        assert strategy.clipping_norm == 0.1


@pytest.mark.parametrize("side", ["ServerSide", "ClientSide"])
@pytest.mark.parametrize("clipping", ["Fixed", "Adaptive"])
def test_privacy_wrappers_add_noise_in_one_method(side, clipping):
    wrapper = getattr(strategies, f"DifferentialPrivacy{side}{clipping}Clipping")
    assert len(parameters(wrapper._add_noise_to_aggregated_arrays)) == 2
    assert "self._add_noise_to_aggregated_arrays(" in inspect.getsource(wrapper.aggregate_train)


def test_bulyan_selects_by_multi_krum_unless_it_has_a_rule():
    assert strategies.Bulyan().selection_rule.__name__ == "select_multikrum"


STEADY_CLOCK = """
import sys
from pathlib import Path
from blossomtune.deployment import flower_internal as flower
offset = Path(sys.argv[1])
state = flower.NodeStateFactory(objectstore_factory=flower.ObjectStoreFactory()).state()

def is_running_after(seconds):
    offset.write_text("0")
    task = state.create_task(flower.TaskType.CLIENT_APP, run_id=1)
    token = state.claim_task(task)
    assert state.activate_task(task)
    offset.write_text(str(seconds))
    return state.get_task_by_token(token) is not None

print(is_running_after(3600))
offset.write_text("0")
flower.use_steady_clock()
print(is_running_after(3600), is_running_after(-3600))
"""


def test_task_is_ended_by_the_clock_of_the_machine_only(tmp_path):
    """Flower takes an hour that the clock is set forth for an hour without a heartbeat."""
    clock = ShiftedClock(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", STEADY_CLOCK, clock.offset],
        cwd=ROOT / "workflow_scripts",
        env=os.environ | clock.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("False\nTrue True\n", 0), done.stderr
