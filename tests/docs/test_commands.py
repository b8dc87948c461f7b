"""Commands of the documentation, as dry runs in a copy of the workflow.

The Makefile and the shell are real. ``snakemake`` only plans, and pytest only parses its arguments.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_pages import ROOT, blocks

PARTS = ("Makefile", "Snakefile", "config", "containers", "envs", "profiles", "rules")
THIS = str(Path(__file__).relative_to(ROOT))
DOCUMENTED = [block.text for block in blocks("bash") if block.markers.get("test") == THIS]
COMMANDS = dict.fromkeys(
    line for text in DOCUMENTED for line in re.findall(r"^(.*?\S)(?: +#.*)?$", text, flags=re.M)
)

SNAKEMAKE = f"""#!/bin/sh
exec "{sys.executable}" -m snakemake "$@" --dry-run
"""

PYTHON = f"""#!/bin/sh
if [ "$1 $2" != "-m pytest" ]; then exec "{sys.executable}" "$@"; fi
for argument in "$@"; do
    case "$argument" in tests/*) [ -e "{ROOT}/$argument" ] || exit 1 ;; esac
done
cd "{ROOT}" && exec "{sys.executable}" "$@" --help > /dev/null
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the workflow with an environment that plans instead of running."""
    root = tmp_path_factory.mktemp("documented") / "workflow"
    root.mkdir()
    for part in (*PARTS, "workflow_scripts"):
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
        copy(ROOT / part, root / part)
    programs = root / ".venv/bin"
    programs.mkdir(parents=True)
    for name, text in (("snakemake", SNAKEMAKE), ("python", PYTHON)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (programs / "activate").write_text(f'PATH="{programs}:$PATH"; export PATH\n')
    (root / ".venv/.locked").touch()
    return root


@pytest.mark.parametrize("command", COMMANDS)
def test_documented_command_can_be_planned(checkout, command):
    path = f"{checkout}/.venv/bin{os.pathsep}{os.environ['PATH']}"
    outside = {k: v for k, v in os.environ.items() if k not in ("ARGS", "MAKEFLAGS")}
    done = subprocess.run(
        ["bash", "-euc", command],
        cwd=checkout,
        env=outside | {"PATH": path},  # not what `make test` was given
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
