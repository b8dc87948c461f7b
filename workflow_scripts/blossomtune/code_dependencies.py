"""List the source files that a step script runs, so that a stage reruns when its code changes."""

import ast
import hashlib
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
    text = file.read_text(encoding="utf-8")
    tree = ast.parse(text)
    files = [f for module in _list_imports(tree) for f in _find_module_files(SCRIPTS_DIR, module)]
    if adjacent := [f for f in _list_data_files(file.parent) if f.name in text]:
        constants = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        files += [f for f in adjacent if f.name in constants]
    return tuple(files)


def _list_imports(tree: ast.Module) -> list[str]:
    """Return the modules that a file imports, and names from them, which may be modules."""
    modules: list[str] = []
    blocks: list[ast.AST] = [tree]
    while blocks:
        node = blocks.pop()
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):  # not expressions
            inner = getattr(node, name, [])
            blocks += inner if isinstance(inner, list) else []
    return modules


def _find_script(name: str) -> Path:
    """Return a script's file; where only the library is installed, that of its command."""
    file = SCRIPTS_DIR / f"{name}.py"
    return file if file.exists() else SCRIPTS_DIR / "blossomtune" / "commands" / f"{name}.py"


@cache
def _find_module_files(root: Path, module: str) -> tuple[Path, ...]:
    """Return the files that importing a module runs, parent packages included; none if not ours."""
    parts = module.split(".")
    if parts[0] != "blossomtune":
        return ()
    inits = [root.joinpath(*parts[:i], "__init__.py") for i in range(1, len(parts) + 1)]
    files = [*inits, root.joinpath(*parts).with_suffix(".py")]
    return tuple(file for file in files if file.is_file())


@cache
def _list_data_files(folder: Path) -> tuple[Path, ...]:
    """Return the files of a folder that are not Python code."""
    return tuple(f for f in folder.iterdir() if f.suffix not in (".py", ".pyc") and f.is_file())
