"""Write into dist/ what other machines install: the library as a wheel, and as a Flower app."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "workflow_scripts"
APP = "flower-app"

sys.path.insert(0, str(SOURCES))  # the library is not installed where it is built


def build_dist(output: Path) -> Path:
    """Build wheel and app; equal sources give equal bytes.

    Args:
        output: folder to write to; what an earlier call wrote there is removed.

    Returns:
        The wheel.
    """
    from blossomtune.version import __version__

    for wheel in output.glob("blossomtune-*.whl"):
        wheel.unlink()
    write_app(output / APP)
    # uv has the build backend inside, so nothing is fetched
    command = [sys.executable, "-m", "uv", "build", "--quiet", "--offline", "--wheel"]
    command += ["--no-create-gitignore", "--out-dir", str(output), str(output / APP)]
    subprocess.run(command, check=True)  # noqa: S603
    return output / f"blossomtune-{__version__}-py3-none-any.whl"


def write_app(folder: Path) -> None:
    """Write a Flower app: pyproject.toml with all keys of `--run-config`, library and licence.

    Args:
        folder: folder of the app; what was there is removed.
    """
    from blossomtune.federation.run_overrides import list_override_keys

    shutil.rmtree(folder, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(SOURCES / "blossomtune", folder / "blossomtune", ignore=ignored)
    shutil.copy(ROOT / "LICENSE", folder)
    pyproject = (SOURCES / "pyproject.toml").read_text(encoding="utf-8").rstrip()
    keys = [f'{key} = ""\n' for key in list_override_keys()]
    text = f"{pyproject}\n# Empty: as in the run file.\n{''.join(keys)}"
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")


def main() -> None:
    """Write dist/ and print what is there."""
    wheel = build_dist(Path.cwd() / "dist")
    for path in (wheel, wheel.with_name(APP)):
        print(path.relative_to(Path.cwd()))


if __name__ == "__main__":
    main()
