from pathlib import Path

import pytest
from federation_samples import federation_spec

from blossomtune.errors import UserError
from blossomtune.federation.paths import ClientPaths
from blossomtune.federation.run import FederatedRun
from blossomtune.federation.server.run_federation import run_federation


def test_run_of_a_client_is_rejected():
    paths = ClientPaths(model=Path("m"), preprocessed=Path("p"), checkpoints=Path("c"))
    with pytest.raises(UserError, match="no paths for adapter and history"):
        run_federation(None, FederatedRun(spec=federation_spec(), paths=paths))
