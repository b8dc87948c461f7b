"""TODO docstring."""

from pydantic import BaseModel


class MergeCheck(BaseModel):
    """The check of the merged model against base and adapter."""

    largest_logit_difference: float
    prompts: int
