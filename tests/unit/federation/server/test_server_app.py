"""Tests of Flower's ServerApp."""

import pytest
from flwr.app import Context, RecordDict

from blossomtune.errors import UserError
from blossomtune.federation.server.server_app import app, build_server_app


def test_app_runs_the_federation_of_its_context(build_run):
    contexts = []

    def load_run(context):
        contexts.append(context)
        return build_run()  # with the paths of a client, which a server rejects

    context = Context(0, 0, {}, RecordDict(), {})
    with pytest.raises(UserError, match="no paths for adapter and history"):
        build_server_app(load_run)(None, context)
    assert contexts == [context]


def test_app_loads_the_run_that_the_configuration_names(build_run, tmp_path):
    build_run().save(tmp_path / "run.json")
    context = Context(0, 0, {}, RecordDict(), {"run": str(tmp_path / "run.json")})
    with pytest.raises(UserError, match="no paths for adapter and history"):
        app(None, context)
