"""The page: everything that was read, put in the order in which people ask for it."""

import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jinja2
import yaml
from markupsafe import Markup, escape

from blossomtune import files
from blossomtune.reporting import controls, figures, inputs, sentences, stages, svg, words
from blossomtune.reporting.view import compared, images, view

_HERE = Path(__file__).parent
_PAGE = "page.html.jinja"
_PARTS = ("macros.html.jinja", "comparison.html.jinja", "experiment.html.jinja")
_UNFOLDED = 3  # with more experiments, their details are folded away
_PACKAGES = "torch transformers peft trl datasets flwr numpy pandas pyarrow pydantic".split()  # noqa: SIM905
_FILTERS = (
    sentences.fate,
    words.amount,
    words.between,
    words.capital,
    words.count,
    words.duration,
    words.megabytes,
    words.millions,
    words.number,
    words.percent,
    words.plain,
    words.upwards,
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
    measured = stages.measured(results, configuration, experiments)
    drawn = {f"{e.name}/{k}": f for e in experiments for k, f in figures.of_experiment(e).items()}
    drawn["time"] = lambda width: figures.time(measured, width)
    with files.atomic(output / "index.html") as index:
        index.write_text(render(config, experiments, measured), encoding="utf-8")
    with files.atomic(output / "figures", directory=True) as folder:
        for name, figure in drawn.items():
            path = folder / f"{name}.svg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(figure(svg.WIDE).standalone(), encoding="utf-8")


def render(
    config: dict[str, Any],
    experiments: list[inputs.Experiment],
    measured: Sequence[stages.Stage],
) -> str:
    """The page as HTML that refers to nothing outside itself."""
    templates = {name: (_HERE / name).read_text(encoding="utf-8") for name in (_PAGE, *_PARTS)}
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(templates), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {function.__name__: function for function in _FILTERS}
    environment.filters["unbroken"] = _unbroken
    environment.globals |= {
        "number": words.number,
        "percent": words.percent,
        "percent1": lambda share: words.percent(share, 1),
        "points": words.points,
    }
    style = svg.STYLE + (_HERE / "page.css").read_text(encoding="utf-8")
    views = [view(number, e) for number, e in enumerate(experiments, 1)]
    return environment.get_template(_PAGE).render(
        answer=sentences.answers(experiments),
        compared=" ".join(controls.compared(experiments[0])) if len(experiments) == 1 else "",
        comparison=compared(experiments, {x["e"].name: x["id"] for x in views}),
        experiments=views,
        folded=len(experiments) > _UNFOLDED,
        seed=config["configuration"]["seed"],
        settings=config["report"],
        sources=_sources(experiments),
        stages=measured,
        style=Markup(style),  # noqa: S704, our own files
        time=images(lambda width: figures.time(measured, width)),
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


def _unbroken(text: str) -> Markup:
    """The text with words like held-out kept on one line, unless they are too long for a phone."""
    keep = Markup('<span class="whole">{}</span>')
    kept = (keep.format(w) if "-" in w and len(w) <= 24 else escape(w) for w in text.split(" "))
    return Markup(" ").join(kept)


def _sources(
    experiments: list[inputs.Experiment],
) -> list[tuple[str, inputs.Provenance | inputs.DatasetManifest]]:
    """Every model and data set once."""
    found: dict[tuple[str, str], inputs.Provenance | inputs.DatasetManifest] = {}
    for e in experiments:
        found["model", e.block["model"]] = e.model
        found["data", e.dataset_name] = e.dataset
    return [(name, source) for (_, name), source in sorted(found.items(), reverse=True)]
