"""A federation to run, in a form that JSON carries to any process."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from blossomtune.federation.paths import ClientPaths, ServerPaths, TrackerPaths
from blossomtune.federation.resources import Resources
from blossomtune.federation.spec import FederationSpec
from blossomtune.files import read_json, write_json


class FederatedRun(BaseModel):
    """One attempt to run a federation.

    Attributes:
        spec: What is trained.
        paths: Where files are, as this process sees them.
        resources: Hardware and time of this attempt.
        trackers: Where rounds are logged, if anywhere; the server's process starts them.
    """

    model_config = ConfigDict(frozen=True)

    spec: FederationSpec
    paths: ServerPaths | ClientPaths
    resources: Resources = Resources()
    trackers: TrackerPaths | None = None

    @classmethod
    def load(cls, path: str | Path) -> "FederatedRun":
        """Read a run from a JSON file; relative paths of its files start at the file's folder."""
        run = cls.model_validate(read_json(Path(path)))
        folder = Path(path).absolute().parent
        paths = {name: folder / value for name, value in run.paths}
        return run.model_copy(update={"paths": type(run.paths)(**paths)})

    def save(self, path: Path) -> None:
        """Write the run to a JSON file."""
        write_json(path, self.model_dump(mode="json"))

    def redact_for_clients(self) -> "FederatedRun":
        """Return a copy without secrets, outputs, deadline and trackers of the server."""
        paths = self.paths
        return FederatedRun(
            spec=self.spec.redact_for_clients(),
            paths=paths.for_clients() if isinstance(paths, ServerPaths) else paths,
            resources=self.resources.model_copy(update={"deadline": None}),
        )
