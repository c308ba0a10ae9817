"""The networks: `build` makes one from its config."""

from typing import TYPE_CHECKING, TypeAlias

from srin.shipped import ASSETS

if TYPE_CHECKING:
    from srin.models.config import ModelConfig
    from srin.models.network import HarmonizationNet
    from srin.models.paper.unet import PaperNet

    Network: TypeAlias = PaperNet | HarmonizationNet

WEIGHTS = ASSETS / "weights"  # a file for each network that is shipped


def build(config: "ModelConfig") -> "Network":
    """Builds the network that a config describes, with fresh weights.

    The network keeps it as `config`. For `forward(composite, mask, regions=None)` see `PaperNet` and `HarmonizationNet`.
    """
    # Imported here, so that only the module of the network that is built is loaded.
    if config.preset == "paper":
        from srin.models.paper.unet import PaperNet

        return PaperNet(config)
    from srin.models.network import HarmonizationNet

    return HarmonizationNet(config)
