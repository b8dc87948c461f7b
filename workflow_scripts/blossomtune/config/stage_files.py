"""Files with the part of the configuration that one stage depends on."""

import json
import uuid
from pathlib import Path
from typing import Any

from blossomtune.files import compute_json_sha256

CONFIG_DIR = Path(".snakemake/blossomtune/config")
"""Folder in the working directory, not in ``results/``, which people share: it has secrets."""


def write_stage_config(stage: str, content: Any) -> str:
    """Write a stage's part of the configuration to a file named by its digest.

    A file is never changed, so a dry run or a second run with another configuration does not change
    what a running or queued job reads. Equal blocks with different names share a file, and so a key
    of Snakemake's between-workflow cache.

    Args:
        stage: Name of the stage, a folder in ``CONFIG_DIR``.
        content: Plain JSON values.

    Returns:
        Path of the file.
    """
    path = CONFIG_DIR / stage / f"{compute_json_sha256(content)[:12]}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(path)
    return str(path)
