"""Imports point one way, and only one module uses non-public parts of Flower."""

import ast
from pathlib import Path

import pytest

from blossomtune.code_dependencies import list_sources

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "workflow_scripts"

PUBLIC_FLOWER = {
    *("flwr.app", "flwr.clientapp", "flwr.clientapp.mod", "flwr.serverapp"),
    *("flwr.serverapp.strategy", "flwr.simulation"),
}
FLOWER_INTERNAL = LIBRARY / "blossomtune/deployment/flower_internal.py"

ORACLE = "# oracle"
"""Comment at imports of tests that compare our results with Flower's."""

LAYERS = [
    {"artifacts", "config"},
    {"data", "modeling", "training", "aggregation", "privacy"},
    {"federation"},
    {"deployment"},
    {"planning"},
]
"""Packages by layer; a package imports from its own and earlier layers only."""

ACCELERATOR_MODULES = {
    LIBRARY / "blossomtune/modeling/devices.py",
    LIBRARY / "blossomtune/gpus.py",  # names of GPUs for other processes, as CUDA numbers them
}
ACCELERATOR_NAMES = {"torch.accelerator", "torch.cuda", "torch.mps", "torch.xpu"}

READERS = {
    *("auditing", "chat", "evaluation", "export", "judging", "reporting", "tracking", "watching")
}
"""Packages that read artifacts; they import no package that writes the artifacts."""


def python_files():
    return sorted([*LIBRARY.rglob("*.py"), *(ROOT / "tests").rglob("*.py")])


def imported_modules(file):
    """Yield line and name of each imported module."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            if node.module == "flwr":
                yield from ((node.lineno, f"flwr.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module


def test_only_one_module_imports_non_public_flower():
    problems = []
    for file in python_files():
        if file == FLOWER_INTERNAL:
            continue
        lines = file.read_text(encoding="utf-8").splitlines()
        for number, module in imported_modules(file):
            is_flower = module == "flwr" or module.startswith("flwr.")
            is_oracle = file.is_relative_to(ROOT / "tests") and ORACLE in lines[number - 1]
            if is_flower and module not in PUBLIC_FLOWER and not is_oracle:
                problems.append(f"{file.relative_to(ROOT)}:{number}: {module}")
    assert problems == []


@pytest.mark.parametrize(
    "module",
    ["federation/server/server_app", "federation/client/client_app", "deployment/flower_app"],
)
def test_engine_flower_needs_public_flower_only(module):
    """Imports of imported modules count, too."""
    sources = [ROOT / name for name in list_sources(f"blossomtune/{module}")]
    assert len(sources) > 5
    problems = [
        f"{file.relative_to(ROOT)}:{number}: {name}"
        for file in sources
        for number, name in (imported_modules(file) if file.suffix == ".py" else ())
        if name.split(".")[0] == "flwr" and name not in PUBLIC_FLOWER
    ]
    assert problems == []


@pytest.mark.parametrize("layer", range(len(LAYERS)))
def test_packages_import_no_later_layer(layer):
    later = set().union(*LAYERS[layer + 1 :])
    problems = []
    for package in sorted(LAYERS[layer]):
        for file in (LIBRARY / "blossomtune" / package).rglob("*.py"):
            for number, module in imported_modules(file):
                parts = module.split(".")
                if parts[0] == "blossomtune" and len(parts) > 1 and parts[1] in later:
                    problems.append(f"{file.relative_to(ROOT)}:{number}: {module}")
    assert problems == []


def test_only_one_module_asks_pytorch_for_devices():
    problems = []
    for file in sorted((LIBRARY / "blossomtune").rglob("*.py")):
        if file in ACCELERATOR_MODULES:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ACCELERATOR_NAMES:
                problems.append(f"{file.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}")
    assert problems == []


def test_readers_of_artifacts_do_not_import_their_writers():
    writers = {"federation", "deployment"}
    problems = []
    for package in sorted(READERS):
        for file in (LIBRARY / "blossomtune" / package).rglob("*.py"):
            for number, module in imported_modules(file):
                parts = module.split(".")
                if parts[0] == "blossomtune" and len(parts) > 1 and parts[1] in writers:
                    problems.append(f"{file.relative_to(ROOT)}:{number}: {module}")
    assert problems == []
