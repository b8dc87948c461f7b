"""provenance.json: where a base model comes from."""

from blossomtune.artifacts.base import Artifact
from blossomtune.artifacts.origin import Origin


class Provenance(Artifact, Origin):
    """Origin, size and files of a base model.

    Attributes:
        parameters: number of parameters.
        files: SHA-256 by file name.
    """

    parameters: int
    files: dict[str, str]

    def get_repository(self, default: str) -> str:
        """Return the model's repository on the Hugging Face hub.

        Args:
            default: name to return for a model that is not from the hub.

        Returns:
            ``owner/name`` on the hub, or ``default``.
        """
        return str(self.source.get("repo") or default)
