"""The apptainer engine: every part in a container of its own, started by this user.

A container sees its own folder, the files that it reads, and nothing else of this machine but its
network; of the environment it has what it needs.
"""

import os
from pathlib import Path
from typing import Self

from blossomtune.config.engines import ApptainerEngine
from blossomtune.deployment.apptainer_image import find_apptainer
from blossomtune.deployment.backend import CODE_DIR, ProcessSpec
from blossomtune.deployment.host_mounts import strip_container_settings
from blossomtune.deployment.subprocess_backend import SubprocessBackend
from blossomtune.errors import UserError


class ApptainerBackend(SubprocessBackend):
    """Parts as containers of Apptainer, which are processes of this one; see ``Runner``.

    Args:
        logs: a folder for what they say.
        scratch: a folder of this run, which its guard removes.
        engine: the image.
    """

    def __init__(self, log_dir: Path, scratch_dir: Path, engine: ApptainerEngine) -> None:
        super().__init__(log_dir, scratch_dir, engine)
        self._image = Path(engine.image).resolve()

    def __enter__(self) -> Self:
        self._executable = find_apptainer()
        if not self._image.exists():
            raise UserError(
                f"federation.engine.image: there is no {self._image}",
                f"apptainer build --fakeroot {self._image} containers/blossomtune.def",
            )
        return super().__enter__()

    def build_command(self, spec: ProcessSpec) -> list[str]:
        """How to start a part."""
        for folder in spec.writable_paths:
            folder.mkdir(parents=True, exist_ok=True)
        reads = (CODE_DIR, *spec.readable_paths, *spec.secret_paths)
        binds = [
            *(f"{path}:{path}:ro" for path in reads),
            *(f"{p}:{p}" for p in spec.writable_paths),
        ]
        variables = {
            k: v for k, v in spec.environment.items() if k != "HOME"
        } | self.gpu_environment(spec)
        return [
            *(self._executable, "exec", "--containall", "--no-privs", "--home", str(spec.home)),
            *(word for bind in binds for word in ("--bind", bind)),
            *(word for key, value in variables.items() for word in ("--env", f"{key}={value}")),
            *(["--nv"] if spec.gpu_index is not None else []),
            *(str(self._image), "python", *spec.python_arguments),
        ]

    def build_environment(self, spec: ProcessSpec) -> dict[str, str]:
        """That of Apptainer itself."""
        return strip_container_settings(os.environ)
