"""Random texts, and copies of them with small changes."""

import numpy as np


def draw_texts(num_texts, seed, length=120):
    """Return texts of random words; any two of them have few shingles in common."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(rng.choice(letters, rng.integers(2, 9))) for _ in range(5_000)]
    return [" ".join(row)[:length].strip() for row in rng.choice(words, (num_texts, length // 3))]


def change_word(text, number):
    """Return a text with another word in its middle, so that it is nearly the same."""
    words = text.split()
    words[len(words) // 2] = f"x{number}"
    return " ".join(words)


def split_shingles(text):
    """Return the windows of five characters of a text, or the padded text."""
    padded = text.ljust(5, "\0")
    return [padded[i : i + 5] for i in range(len(padded) - 4)]
