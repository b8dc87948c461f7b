"""Run a SuperLink on this machine for SuperNodes that other organisations run."""

import logging
from pathlib import Path
from typing import Self

from blossomtune.config.engines import ExternalEngine
from blossomtune.deployment.backend import ProcessSpec
from blossomtune.deployment.keys import KeyStore
from blossomtune.deployment.subprocess_backend import SubprocessBackend
from blossomtune.errors import UserError
from blossomtune.files import expand_home

logger = logging.getLogger(__name__)


class ExternalBackend(SubprocessBackend):
    """Backend that runs the SuperLink as a child process and waits for SuperNodes.

    Args:
        log_dir: Folder for the SuperLink's output.
        scratch_dir: Folder of this run, which its reaper removes.
        engine: Address and keys.
    """

    listen_address = "0.0.0.0"  # noqa: S104 - SuperNodes are on other machines

    def __init__(self, log_dir: Path, scratch_dir: Path, engine: ExternalEngine) -> None:
        super().__init__(log_dir, scratch_dir, engine)
        self.host, self.port = engine.host, engine.port
        self._configured_keys, self.key_dir = engine.keys, expand_home(engine.keys).resolve()

    def __enter__(self) -> Self:
        if not KeyStore(expand_home(self._configured_keys)).ca_certificate.exists():
            raise UserError(
                f"federation.engine.keys: no keys were made in {self._configured_keys!r}, so "
                "nobody has been invited",
                "snakemake --cores 1 invite",
            )
        return super().__enter__()

    def start(self, spec: ProcessSpec) -> None:
        """Start the SuperLink; SuperNodes are started elsewhere."""
        if spec.client is None:
            super().start(spec)
            logger.info("waiting for SuperNodes at %s:%d", self.host, self.port)
