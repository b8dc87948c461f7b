"""Load the style sheet that all pages share."""

from pathlib import Path

PAGE_STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
"""Colours for light and dark screens, text, tables and print."""
