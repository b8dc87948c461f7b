"""Pin the dependencies of workflow_scripts/pyproject.toml to the versions of requirements.lock."""

import json
import re

from make_environment import LOCK, read_pins

PYPROJECT = LOCK.parent.parent / "workflow_scripts/pyproject.toml"


def pin_dependencies(pyproject: str, pins: list[str]) -> str:
    """Return the text of a pyproject file with the versions of a lock.

    Args:
        pyproject: text of the file, one dependency per line.
        pins: requirements of the lock; a package may have one per version of Python.
    """
    block = re.search(r"^dependencies = \[\n(.*?)^\]\n", pyproject, re.M | re.S)
    if block is None:
        raise ValueError(f"{PYPROJECT} has no list of dependencies")
    names = dict.fromkeys(re.findall(r'^\s+"([\w.\[\]-]+)', block[1], re.M))
    lines = [f"    {json.dumps(pin)},\n" for name in names for pin in _find_pins(name, pins)]
    return pyproject.replace(block[1], "".join(lines))


def _find_pins(name: str, pins: list[str]) -> list[str]:
    """Return the lock's requirements of one package; ``name`` may have extras in brackets."""
    plain = name.partition("[")[0]
    found = [pin for pin in pins if re.split(r"[\[=]", pin)[0] == plain]
    if not found:
        raise ValueError(f"requirements.lock does not pin {name}")
    return [pin.replace(pin.partition("==")[0], name, 1) for pin in found]


def main() -> None:
    """Rewrite the file."""
    text = pin_dependencies(PYPROJECT.read_text(encoding="utf-8"), read_pins(LOCK.read_text()))
    PYPROJECT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
