"""Define the error that is shown to users without a traceback."""


class UserError(Exception):
    """An error that a user can fix; scripts print it without a traceback and exit with status 1.

    Args:
        message: What is wrong, where, and what is allowed.
        hint: What to do about it.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message if hint is None else f"{message}\n  hint: {hint}")


def abbreviate(value: object, max_length: int = 60) -> str:
    """Return ``repr(value)``, shortened if it is long.

    Args:
        value: Value to show in a message.
        max_length: Characters of the result.

    Returns:
        Text of at most ``max_length`` characters.
    """
    text = repr(value)
    return text if len(text) <= max_length else text[: max_length - 3] + "..."


def find_closest_match(name: str, candidates: list[str]) -> str | None:
    """Return the most similar spelling, or None if none is similar.

    Args:
        name: What the user wrote.
        candidates: Known spellings.

    Returns:
        One of ``candidates``, or None.
    """
    import difflib

    return next(iter(difflib.get_close_matches(str(name), candidates, n=1, cutoff=0.6)), None)
