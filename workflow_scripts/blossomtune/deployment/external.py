"""The external engine: a SuperLink here, and SuperNodes that other organisations run."""

from pathlib import Path
from typing import Self

from blossomtune.config.engines import ExternalEngine
from blossomtune.deployment.backend import ProcessSpec
from blossomtune.deployment.keys import KeyStore
from blossomtune.deployment.subprocess_backend import SubprocessBackend
from blossomtune.errors import UserError


class ExternalBackend(SubprocessBackend):
    """A SuperLink as a process of this machine; see ``Runner``. SuperNodes come by themselves.

    Args:
        logs: a folder for what it says.
        scratch: a folder of this run, which its guard removes.
        engine: address and keys.
    """

    listen_address = "0.0.0.0"  # noqa: S104 - SuperNodes are on other machines

    def __init__(self, log_dir: Path, scratch_dir: Path, engine: ExternalEngine) -> None:
        super().__init__(log_dir, scratch_dir, engine)
        self.host, self.port, self.key_dir = engine.host, engine.port, Path(engine.keys).resolve()

    def __enter__(self) -> Self:
        if not KeyStore(self.key_dir).ca_certificate.exists():
            raise UserError(
                f"federation.engine.keys: no keys were made in {self._engine.keys!r}, so nobody "
                "has been invited",
                "snakemake --cores 1 invite",
            )
        return super().__enter__()

    def start(self, spec: ProcessSpec) -> None:
        """Starts the SuperLink, and says what is waited for."""
        if spec.client is None:
            super().start(spec)
            print(f"waiting for SuperNodes at {self.host}:{self.port}", flush=True)
