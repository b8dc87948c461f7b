"""The container image, built by Apptainer from its definition and the lock alone."""

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
from blossomtune.files import write_atomically

SQUASHFS_ARGUMENTS = "-comp zstd -Xcompression-level 6"
"""Arguments of mksquashfs: eight times as fast as its default, and no larger."""

PIP_MOUNT = Path("/mnt")
"""Where the definition looks for pip's settings while the image is built."""

BASE_HINT = (
    "set container.base to a docker:// address or a folder with a root file system that has "
    "Python 3.11 or newer, or container.image to an image that is already built"
)


def find_apptainer() -> str:
    """The name of the container program, ``apptainer`` before ``singularity``.

    Raises:
        UserError: where neither is installed.
    """
    for name in ("apptainer", "singularity"):
        if shutil.which(name):
            return name
    raise UserError(
        "neither apptainer nor singularity is installed, so no image can be built",
        "install Apptainer 1.2 or newer, or run without --use-singularity",
    )


def resolve_bootstrap(base: str) -> tuple[str, str]:
    """The definition's header for ``container.base``: Apptainer's bootstrap agent and its source.

    Args:
        base: ``agent://source``, or a path of a root file system or an image.

    Raises:
        UserError: where a path does not exist.
    """
    agent, separator, source = base.partition("://")
    if separator:
        return agent, source
    path = Path(base).expanduser().resolve()
    if not path.exists():
        raise UserError(f"container.base: {base!r} does not exist", BASE_HINT)
    return "localimage", str(path)


def write_pip_conf(settings: dict[str, str], folder: Path) -> list[str]:
    """Writes pip's settings for the build; files and folders they name are mounted beside them.

    Mount points cannot be made in an image that is being built, so they are made in ``folder``.

    Args:
        settings: what ``pip_settings.read`` returned.
        folder: an empty folder, which the build sees as ``MOUNT``.

    Returns:
        The mounts, as ``apptainer build --bind`` takes them.
    """
    mounts, lines = [f"{folder}:{PIP_MOUNT}:ro"], ["[global]"]
    for key, value in settings.items():
        words = []
        for word in value.split():
            path = host_mounts.find_local_path(word)
            if path is not None:
                point = f"{len(mounts)}"
                # an index made of files may point to archives beside it: show the folder above
                shown = path.parent if key.endswith("index-url") else path
                (folder / point).mkdir() if shown.is_dir() else (folder / point).touch()
                mounts.append(f"{shown}:{PIP_MOUNT / point}:ro")
                word = word.replace(str(shown), str(PIP_MOUNT / point), 1)
            words.append(word)
        lines.append(f"{key} = {' '.join(words)}")
    (folder / "pip.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return mounts


def build_image(definition: Path, lock: Path, base: str, output: Path) -> int:
    """Builds the image; what Apptainer says goes to standard error.

    Args:
        definition: Apptainer's definition file.
        lock: requirements to install in the image.
        base: what it is built on, see ``bootstrap``.
        output: the SIF file to write.

    Returns:
        Size of the image in bytes.

    Raises:
        UserError: where Apptainer is missing or the build fails.
    """
    name = find_apptainer()
    agent, source = resolve_bootstrap(base)
    arguments = {"bootstrap": agent, "base": source, "lock": str(lock)}
    with tempfile.TemporaryDirectory() as folder, write_atomically(output) as partial:
        mounts = write_pip_conf(pip_settings.read_pip_settings(), Path(folder))
        command = [name, "build", "--fakeroot", f"--mksquashfs-args={SQUASHFS_ARGUMENTS}"]
        command += [word for mount in mounts for word in ("--bind", mount)]
        command += [f"--build-arg={key}={value}" for key, value in arguments.items()]
        last = _run_command([*command, str(partial), str(definition)])
        if last is not None:
            raise UserError(f"{name} could not build the image from {base!r}: {last}", BASE_HINT)
        return partial.stat().st_size


def _run_command(command: list[str]) -> str | None:
    """Runs a command; None if it went well, else the last line it said."""
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
