"""The page: everything that was read, put in the order in which people ask for it."""

import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import jinja2
import yaml
from markupsafe import Markup, escape

from blossomtune import files
from blossomtune.reporting import figures, inputs, partition, svg, words

_HERE = Path(__file__).parent
_NARROW = 340.0
_LABELS = 12  # a table of more would hide more than it shows
_PACKAGES = "torch transformers peft trl datasets flwr numpy pandas pyarrow pydantic".split()  # noqa: SIM905
_FILTERS = (
    words.amount,
    words.capital,
    words.count,
    words.duration,
    words.fate,
    words.megabytes,
    words.millions,
    words.number,
    words.percent,
    words.plain,
)


def write(config: dict[str, Any], results: Path, output: Path) -> None:
    """Writes index.html, and the figures as files of their own.

    Args:
        config: the report stage's configuration (``config.stages.report``).
        results: the workflow's results directory.
        output: the directory of both; what else is in it stays.

    Raises:
        UserError: where one of the results is missing or malformed.
    """
    configuration = config["configuration"]
    experiments = [
        inputs.experiment(results, configuration, name, config["digests"][name])
        for name in configuration["run"]
    ]
    stages = inputs.stages(results, configuration)
    drawn = {f"{e.name}/{k}": f for e in experiments for k, f in figures.of_experiment(e).items()}
    drawn["time"] = lambda width: figures.time(stages, width)
    with files.atomic(output / "index.html") as index:
        index.write_text(render(config, experiments, stages), encoding="utf-8")
    with files.atomic(output / "figures", directory=True) as folder:
        for name, figure in drawn.items():
            path = folder / f"{name}.svg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(figure(svg.WIDE).standalone(), encoding="utf-8")


def render(
    config: dict[str, Any], experiments: list[inputs.Experiment], stages: list[inputs.Stage]
) -> str:
    """The page as HTML that refers to nothing outside itself."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {function.__name__: function for function in _FILTERS}
    environment.filters["unbroken"] = _unbroken
    style = svg.STYLE + (_HERE / "page.css").read_text(encoding="utf-8")
    return environment.get_template("page.html.jinja").render(
        answer=words.answers(experiments),
        experiments=[_view(number, e) for number, e in enumerate(experiments, 1)],
        number=words.number,
        percent=words.percent,
        percent1=lambda share: words.percent(share, 1),
        points=words.points,
        seed=config["configuration"]["seed"],
        settings=config["report"],
        sources=_sources(experiments),
        stages=stages,
        style=Markup(style),  # noqa: S704, our own files
        time=_images(lambda width: figures.time(stages, width)),
        versions=versions(),
        yaml=yaml.safe_dump(
            config["configuration"] | {"report": config["report"]},
            sort_keys=False,
            allow_unicode=True,
            width=96,
        ),
    )


def versions() -> list[tuple[str, str]]:
    """Name and version of Python and of the packages that shape the results, where installed."""
    found = [("Python", platform.python_version())]
    for name in _PACKAGES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:  # e.g. Snakemake, which is not in the container
            continue
    return found


def _view(number: int, e: inputs.Experiment) -> dict[str, Any]:
    """What the template shows of an experiment, where it is more than a value read."""
    confusions = [m.confusion for m in e.metrics.values() if m.confusion]
    labels = sorted({label for c in confusions for gold in c for label in (gold, *c[gold])})
    row_labels = {
        label: sum((share.labels or {}).get(label, 0) for share in e.partition.clients)
        for label in sorted(e.partition.labels or {})
    }
    drawn = {
        **figures.of_experiment(e),
        "rows": lambda width: partition.draw(e.partition, width),
    }
    examples: dict[int, int] = {}
    for record in e.history.rounds:
        for c in record.clients:
            examples[c.client] = examples.get(c.client, 0) + c.examples
    return {
        "answer": words.answer(e),
        "e": e,
        "examples": examples,
        "figures": {name: _images(figure) for name, figure in drawn.items()},
        "held": [record for record in e.history.rounds if record.evaluation],
        "id": f"experiment-{number}",
        "labels": labels if len(labels) <= _LABELS else [],
        "majority": words.majority(e),
        "notes": words.left_out(e),
        "row_labels": row_labels if len(row_labels) <= _LABELS else {},
        "shape": words.shape(e),
        "steps": _steps(e),
        "taught": words.taught(e),
        "use_adapter": _use_adapter(e),
        "use_merged": _use_merged(e),
    }


def _unbroken(text: str) -> Markup:
    """The text with words like held-out kept on one line, unless they are too long for a phone."""
    keep = Markup('<span class="whole">{}</span>')
    kept = (keep.format(w) if "-" in w and len(w) <= 24 else escape(w) for w in text.split(" "))
    return Markup(" ").join(kept)


def _images(figure: figures.Figure) -> dict[str, Markup]:
    return {"wide": figure(svg.WIDE).inline(), "narrow": figure(_NARROW).inline()}


def _steps(e: inputs.Experiment) -> str:
    """ "10", or "8 to 10" where clients differed."""
    steps = sorted({c.steps for record in e.history.rounds for c in record.clients})
    if not steps:
        return "no"
    return str(steps[0]) if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"


def _sources(
    experiments: list[inputs.Experiment],
) -> list[tuple[str, inputs.Provenance | inputs.DatasetManifest]]:
    """Every model and data set once."""
    found: dict[tuple[str, str], inputs.Provenance | inputs.DatasetManifest] = {}
    for e in experiments:
        found["model", e.block["model"]] = e.model
        found["data", e.dataset_name] = e.dataset
    return [(name, source) for (_, name), source in sorted(found.items(), reverse=True)]


def _use_merged(e: inputs.Experiment) -> str:
    load = f'pipeline("text-generation", model="results/experiments/{e.name}/merged")\n'
    if e.shape.name == "text":
        return (
            f"from transformers import pipeline\n\nwrite = {load}"
            'print(write("How it starts", max_new_tokens=16, do_sample=False)[0]["generated_text"])'
        )
    roles = (("system", e.shape.templates.get("system")), ("user", _question(e)))
    turns = [{"role": role, "content": text} for role, text in roles if text is not None]
    messages = "".join(f"    {json.dumps(turn, ensure_ascii=False)},\n" for turn in turns)
    return (
        "from transformers import pipeline\n\n"
        f"chat = {load}"
        f"messages = [  # with your own text in place of {{{{ … }}}}\n{messages}]\n"
        "answer = chat(messages, max_new_tokens=16, do_sample=False)\n"
        'print(answer[0]["generated_text"][-1]["content"])'
    )


def _question(e: inputs.Experiment) -> str:
    return e.shape.templates.get("prompt", "{{ a question }}")


def _use_adapter(e: inputs.Experiment) -> str:
    return (
        "from peft import PeftModel\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f'folder = "results/models/{e.block["model"]}"\n'
        "tokenizer = AutoTokenizer.from_pretrained(folder)\n"
        "base = AutoModelForCausalLM.from_pretrained(folder)\n"
        f'model = PeftModel.from_pretrained(base, "results/experiments/{e.name}/adapter")'
    )
