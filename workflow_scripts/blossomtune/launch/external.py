"""The external engine: a SuperLink here, and SuperNodes that other organisations run."""

from pathlib import Path
from typing import Self

from blossomtune.config.engines import External
from blossomtune.errors import UserError
from blossomtune.launch.keys import Keys
from blossomtune.launch.parts import Part
from blossomtune.launch.process import Processes


class Outside(Processes):
    """A SuperLink as a process of this machine; see ``Runner``. SuperNodes come by themselves.

    Args:
        logs: a folder for what it says.
        scratch: a folder of this run, which its guard removes.
        engine: address and keys.
    """

    listens = "0.0.0.0"  # noqa: S104 - SuperNodes are on other machines

    def __init__(self, logs: Path, scratch: Path, engine: External) -> None:
        super().__init__(logs, scratch, engine)
        self.host, self.port, self.keys = engine.host, engine.port, Path(engine.keys).resolve()

    def __enter__(self) -> Self:
        if not Keys(self.keys).authority.exists():
            raise UserError(
                f"federation.engine.keys: no keys were made in {self._engine.keys!r}, so nobody "
                "has been invited",
                "snakemake --cores 1 invite",
            )
        return super().__enter__()

    def start(self, part: Part) -> None:
        """Starts the SuperLink, and says what is waited for."""
        if part.client is None:
            super().start(part)
            print(f"waiting for SuperNodes at {self.host}:{self.port}", flush=True)
