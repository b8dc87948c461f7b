"""Write the report: one self-contained page and its figures."""

import platform
from collections.abc import Mapping, Sequence
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

import jinja2
import yaml
from markupsafe import Markup, escape

from blossomtune import files
from blossomtune.artifacts.origin import Origin
from blossomtune.artifacts.result_line import describe_result
from blossomtune.reporting import (
    baselines,
    benchmark_scores,
    charts,
    figures,
    formatting,
    headline,
    load,
    stages,
    summary,
)
from blossomtune.reporting.answer_view import build_typical_answer
from blossomtune.reporting.context import (
    build_comparison_context,
    build_experiment_context,
    render_figure,
)
from blossomtune.reporting.style import PAGE_STYLE

_TEMPLATE_DIR = Path(__file__).parent
_PAGE_TEMPLATE = "page.html.jinja"
_PARTIALS = (
    "macros.html.jinja",
    "comparison.html.jinja",
    "experiment.html.jinja",
    "headline.html.jinja",
    "answers.html.jinja",
    "benchmarks.html.jinja",
    "judge.html.jinja",
)
_FILTER_SCRIPT = (_TEMPLATE_DIR / "filter.js").read_text(encoding="utf-8")
_MAX_UNFOLDED = 3  # with more experiments, their details are folded away
_PACKAGES = "torch transformers peft trl datasets flwr numpy pandas pyarrow pydantic".split()  # noqa: SIM905
_FILTERS = (
    summary.describe_rows,
    benchmark_scores.format_score,
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
    """Write index.html, summary.txt for the terminal, and the figures as SVG files.

    Args:
        config: configuration of the report stage.
        results: the workflow's results directory.
        output: directory to write to; other files in it stay.

    Raises:
        UserError: if a result is missing or malformed.
    """
    configuration = config["configuration"]
    experiments = [
        load.load_experiment(results, configuration, name, config["digests"][name])
        for name in configuration["run"]
    ]
    measured = stages.read_benchmarks(results, configuration, experiments)
    drawings = {e.name: figures.build_figures(e) for e in experiments}
    draw_times = cache(partial(figures.draw_stage_times, measured))
    page = render_page(config, experiments, measured, drawings, draw_times)
    with files.write_atomically(output / "index.html") as index:
        index.write_text(page, encoding="utf-8")
    with files.write_atomically(output / "summary.txt") as text:
        text.write_text("".join(map(_describe_experiment, experiments)), encoding="utf-8")
    with files.write_atomically(output / "figures", directory=True) as folder:
        _write_figure(folder / "time.svg", draw_times)
        for experiment, draw_functions in drawings.items():
            for name, draw in draw_functions.items():
                _write_figure(folder / experiment / f"{name}.svg", draw)


def _describe_experiment(e: load.ExperimentResults) -> str:
    result = describe_result(
        e.base, e.federated, e.differences["base"], e.num_leaked, e.without_leaks
    )
    return f"{e.name}: {result}\n"


def _write_figure(path: Path, draw: figures.DrawFunction) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(draw(charts.WIDE_WIDTH).standalone(), encoding="utf-8")


def render_page(
    config: dict[str, Any],
    experiments: Sequence[load.ExperimentResults],
    benchmarks: Sequence[stages.StageBenchmark],
    drawings: Mapping[str, Mapping[str, figures.DrawFunction]],
    draw_times: figures.DrawFunction,
) -> str:
    """Return the page as HTML without references to other files.

    Args:
        config: configuration of the report stage.
        experiments: results of the experiments.
        benchmarks: measurements of the stages.
        drawings: figures by name of the experiment and name of the figure.
        draw_times: figure of the stages' wall times.

    Returns:
        HTML document with inline CSS and SVG.
    """
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
    style = charts.STYLE + PAGE_STYLE
    views = [
        build_experiment_context(number, e, drawings[e.name])
        for number, e in enumerate(experiments, 1)
    ]
    best = headline.find_best(experiments)
    return environment.get_template(_PAGE_TEMPLATE).render(
        best_id=next((x["id"] for x in views if x["e"] is best), ""),
        details=headline.describe_details(best) if best else "",
        typical=build_typical_answer(best) if best and not best.uses_accuracy else None,
        summary=summary.summarize_run(experiments),
        baseline_summary=" ".join(baselines.describe_differences(experiments[0]))
        if len(experiments) == 1
        else "",
        comparison=build_comparison_context(experiments, {x["e"].name: x["id"] for x in views}),
        experiments=views,
        folded=len(experiments) > _MAX_UNFOLDED,
        script=Markup(_FILTER_SCRIPT) if any(e.answers for e in experiments) else "",  # noqa: S704
        seed=config["configuration"]["seed"],
        settings=config["report"],
        sources=_collect_sources(experiments),
        stages=benchmarks,
        style=Markup(style),  # noqa: S704, our own files
        time=render_figure(draw_times),
        versions=collect_versions(),
        yaml=yaml.safe_dump(
            config["configuration"] | {"report": config["report"]},
            sort_keys=False,
            allow_unicode=True,
            width=96,
        ),
    )


def collect_versions() -> list[tuple[str, str]]:
    """Return name and version of Python and of the installed packages that affect results."""
    versions = [("Python", platform.python_version())]
    for name in _PACKAGES:
        try:
            versions.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:  # e.g. Snakemake, which is not in the container
            continue
    return versions


def _no_wrap(text: str) -> Markup:
    """Return the text without line breaks in words such as held-out, if they fit on a phone."""
    span = Markup('<span class="whole">{}</span>')
    words = (span.format(w) if "-" in w and len(w) <= 24 else escape(w) for w in text.split(" "))
    return Markup(" ").join(words)


def _collect_sources(
    experiments: Sequence[load.ExperimentResults],
) -> list[tuple[str, Origin]]:
    """Return name and origin of every model and data set, each one once."""
    models: dict[str, Origin] = {e.config["model"]: e.provenance for e in experiments}
    datasets: dict[str, Origin] = {e.dataset_name: e.dataset for e in experiments}
    return sorted(models.items(), reverse=True) + sorted(datasets.items(), reverse=True)
