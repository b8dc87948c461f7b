"""Copy model and rows to the nodes of a Ray cluster that do not have them at the same path."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

import ray
from ray.exceptions import RayError

from blossomtune.artifacts.checksums import Checksums, get_checksums_path
from blossomtune.artifacts.files import read_artifact
from blossomtune.deployment.ray_cluster import CONFIG_KEY, call_on_node, connect
from blossomtune.deployment.reaper import on_exit
from blossomtune.errors import UserError
from blossomtune.federation.paths import ClientPaths
from blossomtune.federation.run import FederatedRun
from blossomtune.files import compute_file_sha256

if TYPE_CHECKING:
    from flwr.app import Context

CHUNK_BYTES = 64 * 2**20
"""Size of a piece, which Ray's object store holds until all nodes have written it."""

FOLDERS = ("model", "preprocessed")


def copy_files(
    run: FederatedRun, nodes: dict[str, str], address: str, scratch_dir: str
) -> dict[str, str]:
    """Copy what clients read to the nodes that need it; the reaper removes it after the run.

    Args:
        run: The run, with the paths of this machine.
        nodes: Addresses by node id.
        address: Address of the cluster.
        scratch_dir: Folder of the reaper.

    Returns:
        Folder of the copies, by id of a node that has some.

    Raises:
        UserError: If a node leaves meanwhile, or a copy differs.
    """
    files = dict(_list_files(run.paths))
    digests = {str(path): sha256 for path, (_, sha256) in files.items()}
    try:
        calls = {node: call_on_node(node, has_files, digests) for node in nodes}
        calls = {
            node: call_on_node(node, tempfile.mkdtemp, "", f"{Path(scratch_dir).name}-")
            for node, call in calls.items()
            if not ray.get(call)
        }
        folders = {node: ray.get(call) for node, call in calls.items()}
        if not folders:
            return {}
        copies = [f"{node}={folder}" for node, folder in folders.items()]
        on_exit(Path(scratch_dir), [sys.executable, "-m", __name__, address, *copies])
        for path, (name, _) in files.items():
            _copy_file(path, name, folders)
        for node, folder in folders.items():
            expected = {f"{folder}/{name}": sha256 for name, sha256 in files.values()}
            if not ray.get(call_on_node(node, has_files, expected)):
                raise UserError(f"{CONFIG_KEY}: files were damaged on their way to {nodes[node]}")
    except RayError as error:
        raise UserError(
            f"{CONFIG_KEY}: a node has left the cluster while files were copied, or cannot write: "
            f"{str(error).strip().rpartition(chr(10))[2]}",
            "start again",
        ) from error
    return folders


def build_run_loader(
    run: FederatedRun, folders: dict[str, str]
) -> "Callable[[Context], FederatedRun]":
    """Build the function with which a client finds its files.

    Args:
        run: The run, with the paths of the server's machine.
        folders: Folder of copies, by id of a node that has some.

    Returns:
        Function that returns the run with the paths of the node that calls it.
    """

    def load_run(_: "Context") -> FederatedRun:
        folder = folders.get(ray.get_runtime_context().get_node_id())
        if folder is None:
            return run
        copies = {name: Path(folder, name) for name in FOLDERS}
        return run.model_copy(update={"paths": run.paths.model_copy(update=copies)})

    return load_run


def has_files(digests: dict[str, str]) -> bool:
    """Return whether all files of these SHA-256 digests, by path, are on this node."""
    with suppress(OSError):
        return all(compute_file_sha256(Path(path)) == sha for path, sha in digests.items())
    return False


def append_to_file(path: str, piece: bytes) -> None:
    """Append a piece to a file, and create its folder.

    Args:
        path: The file.
        piece: Its next bytes.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(path).open("ab") as file:
        file.write(piece)


def _list_files(paths: ClientPaths) -> Iterator[tuple[Path, tuple[str, str]]]:
    """Yield path, name and digest of each file that clients read, as its stage wrote it."""
    for folder in FOLDERS:
        source = getattr(paths, folder)
        checksums = read_artifact(get_checksums_path(source), Checksums)
        for name, file in checksums.files.items():
            if folder == "model" or name.startswith("client_"):
                yield source / name, (f"{folder}/{name}", file.sha256)


def _copy_file(source: Path, name: str, folders: dict[str, str]) -> None:
    with source.open("rb") as file:
        piece: bytes | None = None
        while piece is None or piece:  # an empty file has one empty piece
            piece = file.read(CHUNK_BYTES)
            shared = ray.put(piece)
            calls = [
                call_on_node(node, append_to_file, f"{folder}/{name}", shared)
                for node, folder in folders.items()
            ]
            ray.get(calls)


def main(address: str, *copies: str) -> None:
    """Remove the copies of a run from all nodes that are still there.

    Args:
        address: Address of the cluster.
        *copies: Node id and folder each, separated by an equals sign.
    """
    connect(address)
    for node, _, folder in (copy.partition("=") for copy in copies):
        with suppress(RayError):
            ray.get(call_on_node(node, rmtree, folder, True))


if __name__ == "__main__":
    with suppress(UserError):  # a cluster that has ended
        main(*sys.argv[1:])
