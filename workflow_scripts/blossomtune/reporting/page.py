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
from blossomtune.reporting import baselines, figures, formatting, load, stages, summary, svg
from blossomtune.reporting.context import (
    build_comparison_context,
    build_experiment_context,
    render_figure,
)

_TEMPLATE_DIR = Path(__file__).parent
_PAGE_TEMPLATE = "page.html.jinja"
_PARTIALS = ("macros.html.jinja", "comparison.html.jinja", "experiment.html.jinja")
_MAX_UNFOLDED = 3  # with more experiments, their details are folded away
_PACKAGES = "torch transformers peft trl datasets flwr numpy pandas pyarrow pydantic".split()  # noqa: SIM905
_FILTERS = (
    summary.describe_rows,
    formatting.format_amount,
    formatting.format_range,
    formatting.capitalize_first,
    formatting.format_count,
    formatting.format_duration,
    formatting.format_bytes,
    formatting.format_parameter_count,
    formatting.format_number,
    formatting.format_percent,
    formatting.format_setting,
    formatting.format_upper_bound,
)


def write_report(config: dict[str, Any], results: Path, output: Path) -> None:
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
        load.load_experiment(results, configuration, name, config["digests"][name])
        for name in configuration["run"]
    ]
    measured = stages.read_benchmarks(results, configuration, experiments)
    drawn = {f"{e.name}/{k}": f for e in experiments for k, f in figures.build_figures(e).items()}
    drawn["time"] = lambda width: figures.draw_stage_times(measured, width)
    with files.write_atomically(output / "index.html") as index:
        index.write_text(render_page(config, experiments, measured), encoding="utf-8")
    with files.write_atomically(output / "figures", directory=True) as folder:
        for name, figure in drawn.items():
            path = folder / f"{name}.svg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(figure(svg.WIDE_WIDTH).standalone(), encoding="utf-8")


def render_page(
    config: dict[str, Any],
    experiments: list[load.ExperimentResults],
    benchmarks: Sequence[stages.StageBenchmark],
) -> str:
    """The page as HTML that refers to nothing outside itself."""
    templates = {
        name: (_TEMPLATE_DIR / name).read_text(encoding="utf-8")
        for name in (_PAGE_TEMPLATE, *_PARTIALS)
    }
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(templates), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {function.__name__: function for function in _FILTERS}
    environment.filters["no_wrap"] = _no_wrap
    environment.globals |= {
        "number": formatting.format_number,
        "percent": formatting.format_percent,
        "percent1": lambda share: formatting.format_percent(share, 1),
        "points": formatting.format_points,
    }
    style = svg.STYLE + (_TEMPLATE_DIR / "page.css").read_text(encoding="utf-8")
    views = [build_experiment_context(number, e) for number, e in enumerate(experiments, 1)]
    return environment.get_template(_PAGE_TEMPLATE).render(
        summary=summary.summarize_run(experiments),
        baseline_summary=" ".join(baselines.describe_differences(experiments[0]))
        if len(experiments) == 1
        else "",
        comparison=build_comparison_context(experiments, {x["e"].name: x["id"] for x in views}),
        experiments=views,
        folded=len(experiments) > _MAX_UNFOLDED,
        seed=config["configuration"]["seed"],
        settings=config["report"],
        sources=_collect_sources(experiments),
        stages=benchmarks,
        style=Markup(style),  # noqa: S704, our own files
        time=render_figure(lambda width: figures.draw_stage_times(benchmarks, width)),
        versions=collect_versions(),
        yaml=yaml.safe_dump(
            config["configuration"] | {"report": config["report"]},
            sort_keys=False,
            allow_unicode=True,
            width=96,
        ),
    )


def collect_versions() -> list[tuple[str, str]]:
    """Name and version of Python and of the packages that shape the results, where installed."""
    found = [("Python", platform.python_version())]
    for name in _PACKAGES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:  # e.g. Snakemake, which is not in the container
            continue
    return found


def _no_wrap(text: str) -> Markup:
    """The text with words like held-out kept on one line, unless they are too long for a phone."""
    keep = Markup('<span class="whole">{}</span>')
    kept = (keep.format(w) if "-" in w and len(w) <= 24 else escape(w) for w in text.split(" "))
    return Markup(" ").join(kept)


def _collect_sources(
    experiments: list[load.ExperimentResults],
) -> list[tuple[str, load.Provenance | load.DatasetManifest]]:
    """Every model and data set once."""
    found: dict[tuple[str, str], load.Provenance | load.DatasetManifest] = {}
    for e in experiments:
        found["model", e.config["model"]] = e.provenance
        found["data", e.dataset_name] = e.dataset
    return [(name, source) for (_, name), source in sorted(found.items(), reverse=True)]
