"""What the tests of the workflow share."""

import shutil

import pytest
from checkout import PARTS, ROOT, Checkout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout that no rule has run in."""
    root = tmp_path_factory.mktemp("checkout") / "workflow"
    root.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, root / part, ignore=ignore)
        else:
            shutil.copy2(ROOT / part, root / part)
    return Checkout(root)
