"""Stands in for ``python`` where a rule calls a step: makes its outputs, with next to nothing in.

Called as the steps are: ``stand_in.py workflow_scripts/<step>.py --config FILE --output PATH ...``.
What it makes is what the step was told, also in place of checksums. It notes its calls in the file
``calls``.
"""

import json
import sys
from pathlib import Path

script, *rest = sys.argv[1:]
step = Path(script).stem
given = {}
for word in rest:
    if word.startswith("--"):
        values = given.setdefault(word, [])
    else:
        values.append(word)
config = given.get("--config")
told = Path(*config).read_text() if config else "{}"
names = ("--output", "--text", "--adapter", "--history", "--answers")
outputs = [Path(*given[name]) for name in names if name in given]
if step == "report":
    page = outputs.pop()
    names = ("outcome", "loss", "drift", "traffic")
    experiments = json.loads(told)["configuration"]["run"]
    figures = ["time", *(f"{e}/{name}" for e in experiments for name in names)]
    outputs = [page / "index.html", page / "summary.txt"]
    outputs += [*(page / "figures" / f"{figure}.svg" for figure in figures)]
outputs += [Path(*given["--benchmark"])] if "--benchmark" in given else []
for output in outputs:
    file = output if output.suffix else output / "file"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(told)
    if file != output:
        output.with_name(f"{output.name}.checksums.json").write_text(told)
with Path("calls").open("a") as calls:
    calls.write(f"{step}\n")
