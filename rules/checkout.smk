# CHECKOUT: the root of this workflow's files. The working directory may be another folder, and so may
# be the folder of the main Snakefile, where another workflow uses this one as a module.
import uuid
from pathlib import Path

from snakemake.exceptions import WorkflowError

COPIED_FOLDERS = ("config", "containers", "envs", "workflow_scripts")


def find_checkout():
    """Return the root of this workflow's files.

    A git host (`snakefile: github(...)`) serves single files, which Python cannot import. The folders
    are then copied from Snakemake's clone of the repository to the working directory.
    """
    rules_folder = workflow.current_basedir
    path = rules_folder.get_path_or_uri(secret_free=True)
    if Path(path).is_dir():
        return Path(path).resolve().parent
    if not hasattr(rules_folder, "hosted_repo"):
        raise WorkflowError(
            f"'{path}' is not supported; use github(), gitlab() or a local clone"
        )
    tree = rules_folder.hosted_repo.repo.commit(rules_folder.ref).tree
    checkout = Path(".snakemake/blossomtune/checkout").absolute()
    for name in COPIED_FOLDERS:
        for blob in tree[name].traverse(lambda item, _: item.type == "blob"):
            write_if_changed(checkout / blob.path, blob.data_stream.read())
    return checkout


def write_if_changed(path, content):
    """Write bytes to a file in one step, unless it has this content."""
    if not (path.is_file() and path.read_bytes() == content):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        partial.write_bytes(content)
        partial.replace(path)


CHECKOUT = find_checkout()
