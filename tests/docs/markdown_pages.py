"""Parse the Markdown pages of the documentation."""

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^(?P<ticks>`{3,})(?P<language>\w*)\n(?P<text>.*?)^(?P=ticks)\n", re.M | re.S)
MARKER = re.compile(r"<!-- (test|needs|inside|base): (.+?) -->\n")
MARKERS = re.compile(rf"(?:{MARKER.pattern})*\Z")

PAGES = sorted(
    {
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "config").rglob("*.md"),
        *(ROOT / "envs").rglob("*.md"),
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
    }
)


@dataclass
class Block:
    """A fenced block.

    Attributes:
        page: file of the block, relative to the repository.
        line: number of its first line.
        language: language after the opening fence; empty without one.
        text: content of the block.
        markers: values of the comments directly before the block, by kind.
    """

    page: str
    line: int
    language: str
    text: str
    markers: dict[str, str] = field(default_factory=dict)

    def __str__(self):
        return f"{self.page}:{self.line}"


def blocks(language=None):
    """Return the fenced blocks of all pages, or those in one language."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for fence in FENCE.finditer(text):
            before = text[: fence.start()]
            markers = dict(MARKER.findall(MARKERS.search(before)[0]))
            name = str(page.relative_to(ROOT))
            line = before.count("\n") + 2
            found.append(Block(name, line, fence["language"], fence["text"], markers))
    return [block for block in found if language in (None, block.language)]


def prose(page):
    """Return a page without its fenced blocks and comments."""
    text = FENCE.sub("\n", page.read_text(encoding="utf-8"))
    return re.sub(r"<!--.*?-->", "", text, flags=re.S)


def anchors(page):
    """Return the anchors of a page's headings."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), flags=re.M):
        words = re.sub(r"[^\w\s-]", "", heading).strip().lower()
        found.add(re.sub(r"[-\s]+", "-", words))
    return found
