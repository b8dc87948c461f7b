"""Small valid specifications of federations."""

from blossomtune.config.federation import FederationSettings
from blossomtune.config.lora import LoraSettings
from blossomtune.config.training import TrainingSettings
from blossomtune.federation.spec import ClientSpec, FederationSpec


def federation_spec(lora=None, training=None, names=("a",), **federation):
    """Return a specification with these keys of the federation block.

    Clients hold 100 rows each. Their updates may have any norm, since tests make them up.
    """
    return FederationSpec(
        seed=1,
        lora=lora or LoraSettings(),
        training=training or TrainingSettings(),
        federation=FederationSettings(**{"max_update_norm": None} | federation),
        clients=tuple(ClientSpec(name=name, num_rows=100, rank=8) for name in names),
        base_model_name="base",
        max_length=128,
    )
