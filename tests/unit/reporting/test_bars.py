"""The plot of horizontal bars."""

from blossomtune.reporting.bars import Bar, draw_bars


def test_long_name_is_cut_and_kept_as_tooltip():
    name = "a very long name of a client that does not fit"
    svg = draw_bars([Bar(name, [("rows", 3)], "3")], [("rows", "red")], "", 340).inline()
    assert f"<title>{name}</title>" in svg
    assert f">{name}<title>" not in svg
    assert "a very lon" in svg
    assert "…<title>" in svg
