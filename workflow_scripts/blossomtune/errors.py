"""The one kind of error that is meant for the person who runs the workflow."""


class UserError(Exception):
    """Something a user can mend: what is wrong, which value, what is allowed, and a hint.

    Steps print it without a traceback and leave with exit status 1. Anything else that is
    raised is a fault of ours and keeps its traceback.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message if hint is None else f"{message}\n  hint: {hint}")


def find_closest_match(name: str, candidates: list[str]) -> str | None:
    """The known spelling nearest to ``word``, or None where none is near."""
    import difflib

    return next(iter(difflib.get_close_matches(str(name), candidates, n=1, cutoff=0.6)), None)
