"""Resources of one attempt to run a federation."""

from pydantic import BaseModel, ConfigDict


class Resources(BaseModel):
    """Hardware and time that one attempt may use.

    Attributes:
        gpus_per_client: Share of a GPU per client, or the number of its GPUs; 0 trains on the CPU.
        cores: Number of CPU cores.
        deadline: Value of this machine's monotonic clock at which the attempt is stopped from
            outside, if any.
    """

    model_config = ConfigDict(frozen=True)

    gpus_per_client: float = 0.0
    cores: int = 1
    deadline: float | None = None

    @property
    def device(self) -> str:
        """Type of the device that clients train on in this process's environment, e.g. ``cuda``."""
        if not self.gpus_per_client:
            return "cpu"
        from blossomtune.modeling.devices import select_device

        return select_device().type
