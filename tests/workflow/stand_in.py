"""Stands in for ``python`` where a rule calls a step: makes its outputs, with next to nothing in.

Called as the steps are: ``stand_in.py workflow_scripts/<step>.py --config JSON --output PATH ...``.
"""

import json
import sys
from pathlib import Path

step, *rest = sys.argv[1:]
given = dict(zip(rest[::2], rest[1::2], strict=True))
outputs = [Path(given[name]) for name in ("--output", "--adapter", "--history") if name in given]
if Path(step).stem == "report":
    page = outputs.pop()
    names = ("outcome", "loss", "rows", "traffic")
    experiments = json.loads(given["--config"])["configuration"]["run"]
    figures = ["time", *(f"{e}/{name}" for e in experiments for name in names)]
    outputs = [page / "index.html", *(page / "figures" / f"{figure}.svg" for figure in figures)]
for output in outputs:
    file = output if output.suffix else output / "file"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("{}\n")
