"""The networks: `build` makes one from its config."""

from typing import TYPE_CHECKING, TypeAlias

from srin.shipped import ASSETS

if TYPE_CHECKING:
    from srin.models.config import ModelConfig
    from srin.models.network import HarmonizationNet
    from srin.models.paper.unet import PaperNet

    Network: TypeAlias = PaperNet | HarmonizationNet

WEIGHTS = ASSETS / "weights"  # a file for each network that comes along


def build(config: "ModelConfig") -> "Network":
    """The network that a config describes, with fresh weights.

    Its `config` is that one; for its `forward(composite, mask, regions=None)` see `PaperNet` and `HarmonizationNet`.
    """
    # Here, so that a network's module is imported by those alone who use it.
    if config.preset == "paper":
        from srin.models.paper.unet import PaperNet

        return PaperNet(config)
    from srin.models.network import HarmonizationNet

    return HarmonizationNet(config)
