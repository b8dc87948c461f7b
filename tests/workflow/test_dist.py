"""The wheel and the Flower app that ``make dist`` writes."""

import ast
import importlib.util
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions

import pytest
from checkout import ROOT

from blossomtune.code_dependencies import list_sources
from blossomtune.commands.program import COMMANDS
from blossomtune.version import __version__

PYPROJECT = ROOT / "workflow_scripts/pyproject.toml"
PROJECT = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
STARTED_MODULES = (
    *("deployment/client_setup", "deployment/superlink", "deployment/supernode"),
    *("deployment/process", "deployment/external", "deployment/profile_memory"),
    *("federation/server/server_app", "federation/client/client_app"),
)
"""Modules that are started or loaded by name."""


def load_script(name):
    """Return the module of a script in envs/."""
    sys.path.insert(0, str(ROOT / "envs"))
    try:
        spec = importlib.util.spec_from_file_location(name, ROOT / f"envs/{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ROOT / "envs"))
    return module


@pytest.fixture(scope="module")
def build_dist():
    return load_script("make_dist").build_dist


@pytest.fixture(scope="module")
def dist(build_dist, tmp_path_factory):
    """Return the folder of a build."""
    return build_dist(tmp_path_factory.mktemp("dist")).parent


def list_library():
    """Return the library's files that git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    output = subprocess.check_output([*command, "blossomtune"], cwd=PYPROJECT.parent, text=True)
    return {name for name in output.splitlines() if (PYPROJECT.parent / name).exists()}


def test_wheel_has_every_file_of_the_library(dist):
    [wheel] = dist.glob("*.whl")
    assert wheel.name == f"blossomtune-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if not name.endswith("/")}
    metadata = {name for name in files if ".dist-info/" in name}
    assert files - metadata == list_library()
    assert any(name.endswith("licenses/LICENSE") for name in metadata)


def test_two_builds_are_equal(build_dist, dist, tmp_path):
    other = build_dist(tmp_path).parent
    files = {path.relative_to(dist) for path in dist.rglob("*") if path.is_file()}
    assert files == {path.relative_to(other) for path in other.rglob("*") if path.is_file()}
    assert all((dist / name).read_bytes() == (other / name).read_bytes() for name in files)


def test_app_has_the_library_and_fits_flower_s_limit(dist):
    app = dist / "flower-app"
    files = {path for path in app.rglob("*") if path.is_file()}
    library = {str(path.relative_to(app)) for path in files if path.parent != app}
    assert library == list_library()
    assert sum(path.stat().st_size for path in files) < 10_485_760


def test_version_is_that_of_the_library():
    assert PROJECT["version"] == __version__


def test_dependencies_are_the_locked_versions():
    script = load_script("pin_dependencies")
    text = PYPROJECT.read_text(encoding="utf-8")
    pins = script.read_pins((ROOT / "envs/requirements.lock").read_text(encoding="utf-8"))
    assert script.pin_dependencies(text, pins) == text, "run envs/pin_dependencies.py"
    with pytest.raises(ValueError, match="does not pin trl"):
        script.pin_dependencies(text, [pin for pin in pins if not pin.startswith("trl=")])


def test_every_package_that_the_commands_import_is_a_dependency():
    modules = [*(f"commands/{name}" for name in COMMANDS), *STARTED_MODULES]
    files = {file for name in modules for file in list_sources(f"blossomtune/{name}")}
    imported = set().union(*(find_imports(ROOT / file) for file in files if file.endswith(".py")))
    imported -= sys.stdlib_module_names | {"blossomtune"}
    names = {line.split("==")[0].partition("[")[0] for line in PROJECT["dependencies"]}
    distributions = packages_distributions()
    provided = {
        module
        for module in imported
        if names & {name.lower().replace("_", "-") for name in distributions.get(module, [])}
    }
    assert imported - provided == set()


def find_imports(file):
    """Return the first parts of the names of the modules that a file imports."""
    modules = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module.partition(".")[0])
    return modules
