"""Check what ruff does not: how docstrings open, Args of public functions, names that are gone.

Run by ``make lint``. Prints ``file:line: what is wrong`` and exits with 1 where something is.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CODE = ("workflow_scripts", "rules", "tests", "docs", "Snakefile")

QUESTION = re.compile(r"(What|How|Whether|Which|Who|Whose|Where|That)\b")
RETIRED = re.compile(
    r"\b(Told|Follower|newest_wins|Judge|Spool|Contender|Folds|Forks|Instances|Runner|Manner"
    r"|as_it_was|patiently|roster|unsound|every_key|small_hub|little_memory|CUTS)\b"
)
"""Names of before, none of which is a word that the code could need (docs/design-notes.md)."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(body: list[ast.stmt], public: bool = True) -> Iterator[tuple[Function, bool]]:
    """Yield functions and methods, and whether they are public."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from functions(node.body, public and not node.name.startswith("_"))
        elif isinstance(node, Function):
            yield node, public and not node.name.startswith("_")


def check_docstrings(file: Path) -> Iterator[tuple[int, str]]:
    """Yield line and fault of each docstring that breaks a rule."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    library = "blossomtune" in file.parts
    for node in ast.walk(tree):
        if isinstance(node, Function | ast.ClassDef | ast.Module):
            text = ast.get_docstring(node) or ""
            if (match := QUESTION.match(text)) and (library or isinstance(node, Function)):
                yield getattr(node, "lineno", 1), f"the docstring opens with {match[0]}"
            if "TODO" in text:
                yield getattr(node, "lineno", 1), "the docstring is not written yet"
    if not library:
        return
    for node, public in functions(tree.body):
        arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
        named = [a.arg for a in arguments if a.arg not in ("self", "cls")]
        overrides = any(isinstance(d, ast.Name) and d.id == "override" for d in node.decorator_list)
        text = ast.get_docstring(node) or ""
        if public and len(named) >= 2 and not overrides and "Args:" not in text:
            yield node.lineno, f"{node.name} has {len(named)} parameters and no Args"


def check_names(file: Path) -> Iterator[tuple[int, str]]:
    """Yield line and name of each name that has been replaced by a standard one."""
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        for match in RETIRED.finditer(line):
            yield number, f"{match[0]} has another name now"


def main() -> None:
    """Check all files; exit with 1 where there are faults."""
    files = [ROOT / name for name in CODE if (ROOT / name).is_file()]
    for name in CODE:
        files += [f for f in (ROOT / name).rglob("*") if f.suffix in (".py", ".smk")]
    faults = []
    for file in sorted(set(files) - {Path(__file__).resolve()}):
        results = [*check_names(file)]
        if file.suffix == ".py":
            results += check_docstrings(file)
        faults += [f"{file.relative_to(ROOT)}:{line}: {fault}" for line, fault in results]
    print("\n".join(faults) or "docstrings and names: no faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
