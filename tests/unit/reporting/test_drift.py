"""The plot of the drift."""

import xml.etree.ElementTree as ET

from sample_results import (
    build_configuration,
    render_report,
    update_manifest,
    write_results,
)

HISTORY = "experiments/*/history.json"


def read_figure(results, name="drift"):
    return (results / f"report/figures/quickstart/{name}.svg").read_text(encoding="utf-8")


def test_drift_is_drawn_by_round_and_by_layer(results):
    c = write_results(results, build_configuration())

    def one_layer(history):
        history["rounds"][3]["drift"]["layers.7.mlp.up_proj"]["average"] = 0.9876

    update_manifest(results, HISTORY, one_layer)
    html = render_report(c, results)
    svg = read_figure(results)
    ET.fromstring(svg)
    assert "<title>up_proj, layer 7: 99\u202f%</title>" in svg
    assert svg.count("<title>down_proj, layer ") == 30
    assert "plain averaging, round 2: " in svg
    assert "best of rank 8, round 3: " in svg
    assert "What averaging loses" in html


def test_without_drift_the_figure_says_so(results):
    c = write_results(results, build_configuration())

    def none(history):
        for record in history["rounds"]:
            record["drift"] = None

    update_manifest(results, HISTORY, none)
    assert "What averaging loses" not in render_report(c, results)
    assert "Drift was not measured in this run." in read_figure(results)
