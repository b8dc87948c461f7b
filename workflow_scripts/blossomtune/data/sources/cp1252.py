"""Plausibility of text that was decoded as cp1252, the encoding of Windows in Western Europe.

Every byte of Czech, Turkish or Cyrillic text is a letter in cp1252, too, so that it can be decoded
without an error. Detectors by statistics need long texts: charset-normalizer 3.5 takes "café" for
cp1006. A language's own alphabet tells them apart within a few words.
"""

import re
from collections import Counter
from collections.abc import Iterable

_ALPHABETS = {
    "French": "àâæçéèêëîïôœùûü",
    "German": "äöüßé",
    "Spanish": "áéíñóúüª",
    "Portuguese": "áâãàçéêíóôõúª",
    "Italian": "àèéìíîòóùú",
    "Dutch": "áèéëïóöüç",
    "Danish and Norwegian": "æøåéòôü",
    "Swedish and Finnish": "äåöéü",
}
"""Letters besides a to z, in lower case."""

_PUNCTUATION = "€£°²³§©®™±×•…–—‘’“”„‚«»‹›¿¡·º½¼¾´\u00a0\u00ad"
_MIN_SHARE_EXPLAINED = 0.95

_IMPLAUSIBLE = re.compile(
    r"[^\W\d_][€£°²³§©®™±×•„‚“«‹»›¿¡º½¼¾´](?=[^\W\d_])"  # a sign inside a word
    r"|[^\x00-\x7f\W\d_]{3,}"  # accented letters only
    r"|[a-zß-ÿ][À-ÖØ-ÞŒŠŽŸ](?=[a-zß-ÿ])"  # a capital inside a word
)


def is_plausible(lines: Iterable[str]) -> bool:
    """Return whether a text decoded as cp1252 reads like a language of Western Europe.

    Args:
        lines: the decoded text.

    Returns:
        True if nearly all characters beyond ASCII are punctuation or letters of one language.
    """
    counts: Counter[str] = Counter()
    num_implausible = 0
    for line in lines:
        if not line.isascii():
            counts.update(char for char in line.lower() if char > "\x7f")
            num_implausible += len(_IMPLAUSIBLE.findall(line))
    total = counts.total()
    punctuation = sum(counts[char] for char in _PUNCTUATION)
    letters = max(sum(counts[char] for char in letters) for letters in _ALPHABETS.values())
    explained = punctuation + letters - num_implausible
    return explained >= _MIN_SHARE_EXPLAINED * total
