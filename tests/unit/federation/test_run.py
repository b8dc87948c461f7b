from pathlib import Path

import pytest
from federation_samples import federation_spec

from blossomtune.federation.paths import ClientPaths, ServerPaths
from blossomtune.federation.resources import Resources
from blossomtune.federation.run import FederatedRun

SHARED = {name: Path("/data", name) for name in ("model", "preprocessed", "checkpoints")}
CLIENT_PATHS = ClientPaths(**SHARED)
SERVER_PATHS = ServerPaths(**SHARED, adapter="/data/adapter", history="/data/history.json")


@pytest.mark.parametrize("paths", [CLIENT_PATHS, SERVER_PATHS])
def test_run_is_read_as_it_was_written(tmp_path, paths):
    run = FederatedRun(spec=federation_spec(), paths=paths, resources=Resources(cores=3))
    run.save(tmp_path / "run.json")
    loaded = FederatedRun.load(tmp_path / "run.json")
    assert loaded == run
    assert type(loaded.paths) is type(paths)
    assert hash(loaded) == hash(run)


def test_clients_get_neither_outputs_nor_deadline_of_the_server():
    resources = Resources(gpus_per_client=0.5, cores=3, deadline=1e9)
    spec = federation_spec(aggregation="ffa", privacy={"secret": "/etc/secret"})
    run = FederatedRun(spec=spec, paths=SERVER_PATHS, resources=resources).redact_for_clients()
    assert run.spec.federation.privacy.secret is None
    assert run.paths == CLIENT_PATHS
    assert run.resources == Resources(gpus_per_client=0.5, cores=3)
    assert run.redact_for_clients() == run
