"""Check that a chat template writes every text of a conversation.

A template silently leaves out the fields that it does not read. No other check finds this, since
the rendered text is valid.
"""

import json
from collections.abc import Iterable


def find_unwritten_text(texts: Iterable[tuple[str, str]], rendered: str) -> tuple[str, str] | None:
    """Return the first text that is not in the rendered one.

    Each text needs an occurrence of its own, as it is or as a JSON string.

    Args:
        texts: Pairs of field and text, stripped.
        rendered: Text that the template wrote.

    Returns:
        The field and the text, or None if all are there.
    """
    for field, text in sorted(texts, key=lambda pair: -len(pair[1])):
        for form in (text, json.dumps(text, ensure_ascii=False)[1:-1]):
            start = rendered.find(form)
            if start >= 0:
                rendered = f"{rendered[:start]}\0{rendered[start + len(form) :]}"
                break
        else:
            return field, text
    return None
