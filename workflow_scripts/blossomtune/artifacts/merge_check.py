"""merge.json: check of the merged model."""

from blossomtune.artifacts.base import Artifact


class MergeCheck(Artifact):
    """Comparison of the merged model with base and adapter.

    Attributes:
        largest_logit_difference: largest absolute difference of a logit.
        tolerance: largest difference that is allowed.
        prompts: number of test prompts.
        precision: data type of the stored weights, such as ``bfloat16``.
    """

    largest_logit_difference: float
    tolerance: float
    prompts: int
    precision: str
