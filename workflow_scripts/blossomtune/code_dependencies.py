"""List the source files that a step script runs, so that a stage reruns when its code changes."""

import ast
import hashlib
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

SCRIPTS_DIR = Path(__file__).resolve().parent.parent


def list_sources(script: str) -> list[str]:
    """Return this repository's files that ``workflow_scripts/<script>.py`` runs.

    Imports inside functions count. A file beside a module (a template, a style sheet) counts if
    a string of the module is its name.

    Args:
        script: Name of a script, without ``.py``.

    Returns:
        Sorted paths relative to the repository.
    """
    files: set[Path] = set()
    queue = [_find_script(script)]
    while queue:
        file = queue.pop()
        if file not in files:
            files.add(file)
            queue += _find_dependencies(file)
    return sorted(str(file.relative_to(SCRIPTS_DIR.parent)) for file in files)


@cache
def compute_sources_digest(script: str) -> str:
    """Return the SHA-256 of all files that a script runs.

    Snakemake compares the content of inputs only if they are newer than the results. Code of
    another checkout can be older than results that were copied to it.

    Args:
        script: Name of a script, without ``.py``.

    Returns:
        64 hexadecimal digits.
    """
    return _compute_digest(list_sources(script))


@cache
def compute_code_digest(script: str) -> str:
    """Return the SHA-256 of the library's code that a script runs, without ``deployment``.

    Args:
        script: Name of a script, without ``.py``.

    Returns:
        64 hexadecimal digits.
    """
    library = f"{SCRIPTS_DIR.name}/blossomtune/"
    names = [name for name in list_sources(script) if name.startswith(library)]
    return _compute_digest(name for name in names if not name.startswith(f"{library}deployment/"))


def _compute_digest(names: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        content = (SCRIPTS_DIR.parent / name).read_bytes()
        path = "/".join(Path(name).parts[1:])
        digest.update(f"{path} {len(content)} ".encode() + content)
    return digest.hexdigest()


@cache
def _find_dependencies(file: Path) -> tuple[Path, ...]:
    if file.suffix != ".py":
        return ()
    files: list[Path] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            modules = []
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                files += _find_adjacent_file(file, node.value)
        files += [f for module in modules for f in _find_module_files(module)]
    return tuple(files)


def _find_script(name: str) -> Path:
    """Return a script's file; where only the library is installed, that of its command."""
    file = SCRIPTS_DIR / f"{name}.py"
    return file if file.exists() else SCRIPTS_DIR / "blossomtune" / "commands" / f"{name}.py"


def _find_module_files(module: str) -> list[Path]:
    """Return the files that importing a module runs, parent packages included; none if not ours."""
    parts = module.split(".")
    if parts[0] != "blossomtune":
        return []
    inits = [SCRIPTS_DIR.joinpath(*parts[:i], "__init__.py") for i in range(1, len(parts) + 1)]
    return [f for f in [*inits, SCRIPTS_DIR.joinpath(*parts).with_suffix(".py")] if f.is_file()]


def _find_adjacent_file(file: Path, name: str) -> list[Path]:
    """Return the file of that name beside another, if it exists and is not Python code."""
    is_name = re.fullmatch(r"[\w.-]{1,64}", name)
    path = file.parent / name
    return [path] if is_name and path.suffix != ".py" and path.is_file() else []
