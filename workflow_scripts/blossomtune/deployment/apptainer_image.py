"""Build the container image with Apptainer from its definition and the lock."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from pathlib import Path

from blossomtune import pip_settings
from blossomtune.deployment import host_mounts
from blossomtune.errors import UserError
from blossomtune.files import expand_home, write_atomically

SQUASHFS_ARGUMENTS = "-comp zstd -Xcompression-level 6"
"""Arguments of mksquashfs: eight times as fast as its default, and no larger."""

PIP_MOUNT = Path("/mnt")
"""Folder in which the definition looks for pip's settings during the build."""

BASE_HINT = (
    "set container.base to a docker:// address or a folder with a root file system that has "
    "Python 3.11 or newer, or container.image to an image that is already built"
)


def find_apptainer() -> str:
    """Find the container program.

    Returns:
        ``apptainer``, or else ``singularity``.

    Raises:
        UserError: If neither is installed.
    """
    for name in ("apptainer", "singularity"):
        if shutil.which(name):
            return name
    raise UserError(
        "neither apptainer nor singularity is installed, so no image can be built",
        "install Apptainer 1.2 or newer, or run without --use-singularity",
    )


def resolve_bootstrap(base: str) -> tuple[str, str]:
    """Return the header of the definition for ``container.base``.

    Args:
        base: ``agent://source``, or the path of a root file system or an image.

    Returns:
        Apptainer's bootstrap agent and its source.

    Raises:
        UserError: If a path does not exist.
    """
    agent, separator, source = base.partition("://")
    if separator:
        return agent, source
    path = expand_home(base).resolve()
    if not path.exists():
        raise UserError(f"container.base: {base!r} does not exist", BASE_HINT)
    return "localimage", str(path)


def write_pip_conf(settings: dict[str, str], folder: Path) -> list[str]:
    """Write pip's settings for the build, with the files and folders that they name as mounts.

    Mount points are created in ``folder``, since an image cannot get any during its build.

    Args:
        settings: Result of ``pip_settings.read_pip_settings``.
        folder: Empty folder, which is mounted at ``PIP_MOUNT``.

    Returns:
        The mounts, as arguments of ``apptainer build --bind``.
    """
    mounts, lines = [f"{folder}:{PIP_MOUNT}:ro"], ["[global]"]
    for key, value in settings.items():
        parts = []
        for part in value.split():
            path = host_mounts.find_local_path(part)
            if path is not None:
                mount_point = f"{len(mounts)}"
                # an index of files may refer to archives beside it
                source = path.parent if key.endswith("index-url") else path
                target = folder / mount_point
                target.mkdir() if source.is_dir() else target.touch()
                mounts.append(f"{source}:{PIP_MOUNT / mount_point}:ro")
                part = part.replace(str(source), str(PIP_MOUNT / mount_point), 1)
            parts.append(part)
        lines.append(f"{key} = {' '.join(parts)}")
    (folder / "pip.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return mounts


def build_image(definition: Path, lock: Path, base: str, output: Path) -> int:
    """Build the image; Apptainer's output goes to stderr.

    Args:
        definition: Apptainer's definition file.
        lock: Requirements to install in the image.
        base: Base of the image, see ``resolve_bootstrap``.
        output: SIF file to write.

    Returns:
        Size of the image in bytes.

    Raises:
        UserError: If Apptainer is missing or the build fails.
    """
    program = find_apptainer()
    agent, source = resolve_bootstrap(base)
    arguments = {"bootstrap": agent, "base": source, "lock": str(lock)}
    with tempfile.TemporaryDirectory() as folder, write_atomically(output) as partial:
        mounts = write_pip_conf(pip_settings.read_pip_settings(), Path(folder))
        command = [program, "build", "--fakeroot", f"--mksquashfs-args={SQUASHFS_ARGUMENTS}"]
        command += [argument for mount in mounts for argument in ("--bind", mount)]
        command += [f"--build-arg={key}={value}" for key, value in arguments.items()]
        error = _run_command([*command, str(partial), str(definition)])
        if error is not None:
            raise UserError(
                f"{program} could not build the image from {base!r}: {error}", BASE_HINT
            )
        return partial.stat().st_size


def _run_command(command: list[str]) -> str | None:
    """Run a command; return None on success, else the last line of its output."""
    lines: deque[str] = deque(["it said nothing"], maxlen=1)
    with subprocess.Popen(  # noqa: S603
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=host_mounts.strip_container_settings(os.environ),
    ) as process:
        for line in process.stdout or ():
            sys.stderr.write(line)
            lines.append(line.strip())
    return lines[0] if process.returncode else None
