"""Which files a step runs: its script, and what of this library it imports.

Snakemake counts changes of files that a rule lists as input, by checksum. Listing exactly
these reruns a stage when its own code changes and leaves all others alone.
"""

import ast
import hashlib
import re
from functools import cache
from pathlib import Path

SCRIPTS_DIR = Path(__file__).resolve().parent.parent


def list_sources(script: str) -> list[str]:
    """The first-party files that ``workflow_scripts/<step>.py`` runs.

    Imports are followed wherever they stand, also inside functions. A file beside a module
    counts too where the module names it in a string (a template, a style sheet).

    Args:
        step: the name of a script, without ``.py``.

    Returns:
        Sorted paths relative to the repository.
    """
    found: set[Path] = set()
    waiting = [SCRIPTS_DIR / f"{script}.py"]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += [f for f in _find_dependencies(file) if f not in found]
    return sorted(str(file.relative_to(SCRIPTS_DIR.parent)) for file in found)


@cache
def compute_code_digest(script: str) -> str:
    """A checksum of the library's code that a step runs, but for where it runs (``deployment``).

    Args:
        step: the name of a script, without ``.py``.
    """
    found = hashlib.sha256()
    for name in list_sources(script):
        parts = Path(name).parts[1:]
        if parts[0] == "blossomtune" and parts[1] != "deployment":
            content = (SCRIPTS_DIR.parent / name).read_bytes()
            found.update(f"{'/'.join(parts)} {len(content)} ".encode() + content)
    return found.hexdigest()


@cache
def _find_dependencies(file: Path) -> tuple[Path, ...]:
    if file.suffix != ".py":
        return ()
    used: list[Path] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            used += [f for alias in node.names for f in _find_module_files(alias.name)]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            used += _find_module_files(node.module)
            used += [
                f for alias in node.names for f in _find_module_files(f"{node.module}.{alias.name}")
            ]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            used += _find_adjacent_files(file, node.value)
    return tuple(used)


def _find_module_files(module: str) -> list[Path]:
    """The files that importing ``module`` runs, packages above it included; none if not ours."""
    parts = module.split(".")
    if parts[0] != "blossomtune":
        return []
    inits = [SCRIPTS_DIR.joinpath(*parts[:i], "__init__.py") for i in range(1, len(parts) + 1)]
    return [f for f in [*inits, SCRIPTS_DIR.joinpath(*parts).with_suffix(".py")] if f.is_file()]


def _find_adjacent_files(file: Path, name: str) -> list[Path]:
    simple = re.fullmatch(r"[\w.-]{1,64}", name)
    beside = file.parent / name
    return [beside] if simple and beside.suffix != ".py" and beside.is_file() else []
