"""Run SuperLink and SuperNodes in Apptainer containers of this user.

A container sees its own folder, the files that it reads, and the network, but nothing else of this
machine. It gets only the environment variables that it needs.
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
from blossomtune.files import expand_home


class ApptainerBackend(SubprocessBackend):
    """Backend that runs each process in an Apptainer container, as a child process.

    Args:
        log_dir: Folder for the processes' output.
        scratch_dir: Folder of this run, which its reaper removes.
        engine: The image.
    """

    def __init__(self, log_dir: Path, scratch_dir: Path, engine: ApptainerEngine) -> None:
        super().__init__(log_dir, scratch_dir, engine)
        self._image = expand_home(engine.image).resolve()

    def __enter__(self) -> Self:
        self._executable = find_apptainer()
        if not self._image.exists():
            raise UserError(
                f"federation.engine.image: there is no {self._image}",
                f"apptainer build --fakeroot {self._image} containers/blossomtune.def",
            )
        return super().__enter__()

    def build_command(self, spec: ProcessSpec) -> list[str]:
        """Return the command that starts a process; create its writable folders."""
        for folder in spec.writable_paths:
            folder.mkdir(parents=True, exist_ok=True)
        readable = (CODE_DIR, *spec.readable_paths, *spec.secret_paths)
        binds = [f"{path}:{path}:ro" for path in readable]
        binds += [f"{path}:{path}" for path in spec.writable_paths]
        variables = spec.environment | self.gpu_environment(spec)
        del variables["HOME"]  # Apptainer sets it
        return [
            *(self._executable, "exec", "--containall", "--no-privs", "--home", str(spec.home)),
            *(word for bind in binds for word in ("--bind", bind)),
            *(word for key, value in variables.items() for word in ("--env", f"{key}={value}")),
            *(["--nv"] if spec.gpu_indices else []),
            *(str(self._image), "python", *spec.python_arguments),
        ]

    def build_environment(self, spec: ProcessSpec) -> dict[str, str]:
        """Return the environment of Apptainer itself."""
        return strip_container_settings(os.environ)
