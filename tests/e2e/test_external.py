"""Clients that run their own SuperNodes, by the commands of the guide."""

import pytest
import yaml
from checkouts import small_workflow, snakemake


def test_first(tiny_model):
    from pathlib import Path
    import shutil

    home = Path("/tmp/w/x1")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    shutil.copytree(tiny_model, home.parent / "x1model", dirs_exist_ok=True)
    small_workflow(home, home.parent / "x1model")
