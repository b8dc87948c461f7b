"""Figures as SVG, their legends and their ticks."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from blossomtune.reporting import charts


@given(st.integers(0, 500), st.integers(0, 2000))
def test_round_ticks_are_few_and_among_the_rounds(first, more):
    rounds = charts.choose_rounds(first, first + more)
    assert len(rounds) <= 11
    assert all(first <= number <= first + more for number in rounds)


@settings(max_examples=20, deadline=None)
@given(st.text())
@example("00000000000000000ÆÆ𝕦")  # is cut in the legend
def test_any_text_makes_a_well_formed_file(text):
    chart = charts.build_chart([{"x": 1, "tip": text, "name": text}])
    dots = chart.mark_circle(aria=True).encode(
        x="x:Q", color=charts.build_color("name", [(text, "red")], 100, left=0, top=0)
    )
    layers = [charts.draw_text(text, 0, 0), dots.encode(description="tip:N")]
    figure = charts.build_figure(layers, text, 100, 50)
    root = ET.fromstring(figure.standalone().encode("utf-8", "replace"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"


def test_descriptions_of_marks_are_tooltips():
    dots = charts.build_chart([{"x": 1, "tip": "client a: 0.5"}]).mark_circle(aria=True)
    svg = charts.build_figure([dots.encode(x="x:Q", description="tip:N")], "", 100, 50).inline()
    assert svg.count("<title>") == 1
    assert "<title>client a: 0.5</title>" in svg


def test_text_stays_text_with_colours_of_the_style_sheet():
    svg = charts.build_text_figure(["Nothing was measured.", "Nothing at all."], 340).inline()
    assert svg.count("<text") == 2
    assert 'fill="var(--soft)"' in svg
    assert "font-family" not in svg


@pytest.mark.parametrize(("width", "columns", "height"), [(696, 4, 34), (150, 1, 82)])
def test_a_legend_has_as_many_columns_as_fit(width, columns, height):
    legend = [(f"label number {i}", "red") for i in range(4)]
    assert charts.measure_legend(legend, width) == (columns, height)
    assert charts.measure_legend([], width)[1] == 0
