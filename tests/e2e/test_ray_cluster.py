"""The simulation on two nodes of a Ray cluster; the second one sees neither code nor results."""

import psutil
import pytest
from checkout import ROOT
from local_grid import hash_adapter
from patience import wait_until
from ray_nodes import RayNode
from test_simulation import find_workers

KEYS = {"rounds": 3, "training": {"max_steps": 40}}


@pytest.fixture(scope="module")
def head(engine):
    """Return the first node of a cluster, which sees all files."""
    engine("simulation")
    node = RayNode()
    yield node
    node.remove()


@pytest.fixture(scope="module")
def second_node(head, federation_files):
    """Return a node that sees neither this repository's code nor model and rows."""
    hidden = (ROOT / "workflow_scripts", federation_files["model"].parent)
    node = RayNode("127.0.0.2", head, hidden)
    yield node
    node.remove()


@pytest.fixture
def cluster_engine(head, monkeypatch):
    """Return the engine's block of the configuration."""
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "1")
    return {"name": "simulation", "address": head.address}


@pytest.fixture(scope="module")
def adapter_hash(train_alike):
    """Return the hash of the adapter of a federation in one process."""
    run, _ = train_alike(**KEYS)
    return hash_adapter(run)


def list_node_workers(node):
    """Return the workers of Flower's simulation on a node."""
    return find_workers(psutil.Process(node.process.pid).children(recursive=True))


@pytest.mark.engine
def test_two_nodes_train_the_adapter_of_one_machine(
    head, second_node, cluster_engine, federate, federation_files, adapter_hash
):
    outside = cluster_engine | {"address": head.client_address}
    process = federate(federation_files, engine=outside, **KEYS)
    wait_until(lambda: list_node_workers(second_node))
    assert list(second_node.temp.glob("bt-*/model"))
    process.finish()
    assert process.hash_adapter() == adapter_hash
    assert [r["failed"] for r in process.read_rounds()] == [[], [], [], []]
    wait_until(lambda: not list_node_workers(second_node))
    assert list(second_node.temp.glob("bt-*")) == []


@pytest.mark.engine
def test_clients_with_state_need_shared_checkpoints(
    second_node, cluster_engine, federate, federation_files
):
    hidden = federation_files["model"].parent / "checkpoints"
    process = federate(
        federation_files, engine=cluster_engine, optimizer_state="kept", checkpoints=hidden
    )
    output = process.finish(returncode=1)
    assert "error: federation.engine.address: clients keep state between rounds in" in output
    assert "and nodes 127.0.0.2 do not share that folder" in output


@pytest.mark.engine
def test_killed_run_leaves_no_worker_and_no_file_on_a_node(
    second_node, cluster_engine, federate, federation_files
):
    process = federate(federation_files, engine=cluster_engine, training={"max_steps": 2000})
    wait_until(lambda: list_node_workers(second_node))
    assert list(second_node.temp.glob("bt-*/preprocessed/client_0.arrow"))
    process.kill()
    wait_until(lambda: not list_node_workers(second_node))
    wait_until(lambda: not list(second_node.temp.glob("bt-*")))


@pytest.mark.engine
def test_killed_node_does_not_end_the_run(
    second_node, cluster_engine, federate, federation_files, adapter_hash
):
    process = federate(federation_files, engine=cluster_engine, **KEYS)
    process.wait_for_round(1)
    assert list_node_workers(second_node)
    second_node.kill()
    output = process.finish()
    assert process.list_clients() == [[0, 1, 2]] * 3, output
    assert process.hash_adapter() == adapter_hash
