"""The apptainer engine: every part in a container of its own, started by this user.

A container sees its own folder, the files that it reads, and nothing else of this machine but its
network; of the environment it has what it needs.
"""

import os
from pathlib import Path
from typing import Self

from blossomtune.config.engines import Apptainer
from blossomtune.errors import UserError
from blossomtune.launch.host import without_container_settings
from blossomtune.launch.image import program
from blossomtune.launch.parts import CODE, Part
from blossomtune.launch.process import Processes


class Instances(Processes):
    """Parts as containers of Apptainer, which are processes of this one; see ``Runner``.

    Args:
        logs: a folder for what they say.
        scratch: a folder of this run, which its guard removes.
        engine: the image.
    """

    def __init__(self, logs: Path, scratch: Path, engine: Apptainer) -> None:
        super().__init__(logs, scratch, engine)
        self._image = Path(engine.image).resolve()

    def __enter__(self) -> Self:
        self._program = program()
        if not self._image.exists():
            raise UserError(
                f"federation.engine.image: there is no {self._image}",
                f"apptainer build --fakeroot {self._image} containers/blossomtune.def",
            )
        return super().__enter__()

    def command(self, part: Part) -> list[str]:
        """How to start a part."""
        for folder in part.writes:
            folder.mkdir(parents=True, exist_ok=True)
        reads = (CODE, *part.reads, *part.secrets)
        binds = [*(f"{path}:{path}:ro" for path in reads), *(f"{p}:{p}" for p in part.writes)]
        variables = {k: v for k, v in part.environment.items() if k != "HOME"} | self.gpu(part)
        return [
            *(self._program, "exec", "--containall", "--no-privs", "--home", str(part.home)),
            *(word for bind in binds for word in ("--bind", bind)),
            *(word for key, value in variables.items() for word in ("--env", f"{key}={value}")),
            *(["--nv"] if part.gpu is not None else []),
            *(str(self._image), "python", *part.program),
        ]

    def environment(self, part: Part) -> dict[str, str]:
        """That of Apptainer itself."""
        return without_container_settings(os.environ)
