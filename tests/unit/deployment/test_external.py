import pytest

from blossomtune.config.engines import ExternalEngine
from blossomtune.deployment.external import ExternalBackend
from blossomtune.errors import UserError


def test_run_without_invited_clients_is_an_error(tmp_path):
    engine = ExternalEngine(name="external", host="link.example", keys=str(tmp_path / "keys"))
    with pytest.raises(UserError, match=r"keys: no keys were made in .*\n  hint: snakemake"):
        ExternalBackend(tmp_path, tmp_path, engine).__enter__()
