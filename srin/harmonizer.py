"""Harmonizer: one call, any size in, the same size out."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from srin.classical import CLASSICAL
from srin.composite import Composite, blend, check_strength
from srin.device import best_device, checked_device
from srin.errors import MissingWeights, SrinError, UnknownMethod
from srin.gpu import on_gpu
from srin.image_io import Source
from srin.mask_values import extent
from srin.segmentation.semantic_map import SemanticMap, build, segment

if TYPE_CHECKING:
    from torch import Tensor

    from srin.explain import Explanation
    from srin.models.unet import HarmonizationNet

WEIGHTS = Path(__file__).resolve().parents[1] / "assets" / "weights"
NETWORKS = ("baseline", "bain", "srin")
METHODS = (*CLASSICAL, *NETWORKS)
MIN_SIDE = 32  # pixels of the shorter side at the working size, below which H/8 has too few positions
WORKING_SIZES = (64, 4096)
MAP_SIDE = 1024  # pixels of the longer side at which maps are drawn: what Segment Anything sees at most


class Harmonizer:
    """One harmonization method, ready to use.

    Attributes:
        method: its name, one of METHODS.
        needs_map: whether it looks at a semantic map.
    """

    def __init__(self, method: str, network: "HarmonizationNet | None") -> None:
        self.method = method
        self._network = network
        self._origin: tuple[str, str | None] | None = None  # from_pretrained's arguments
        self.needs_map = network is not None and network.config.slot == "srin"

    @classmethod
    def from_pretrained(cls, method: str, device: str | None = None) -> "Harmonizer":
        """Loads a method with the weights that come with it.

        Args:
            method: one of METHODS.
            device: "cpu", "cuda", "mps", ...; chosen automatically when None. Classical methods run on the CPU.

        Raises:
            UnknownMethod: there is no such method.
            MissingWeights: its weights file is not here.
            WeightsError: the weights file is broken.
            SrinError: the device can't be used.
        """
        if method not in METHODS:
            raise UnknownMethod(f"There is no method {method!r}. Choose from {', '.join(METHODS)}.")
        harmonizer = cls(method, load_network(method, device) if method in NETWORKS else None)
        harmonizer._origin = (method, device)
        return harmonizer

    def __reduce__(self) -> Any:
        """From `from_pretrained`, it goes to another process by its name: there its network is, or is loaded."""
        return (Harmonizer.from_pretrained, self._origin) if self._origin else super().__reduce__()

    def harmonize(
        self,
        image: Source,
        mask: Source,
        semantic_map: SemanticMap | np.ndarray | None = None,
        strength: float = 1.0,
        working_size: int | None = None,
    ) -> np.ndarray:
        """Makes the masked foreground match the light and the colours of its background.

        Args:
            image: the composite: a path, bytes, a PIL image, or a uint8 array (H, W), (H, W, 3) or (H, W, 4).
            mask: of the same size, white (255) on the pasted foreground; soft edges are kept soft.
            semantic_map: for methods with `needs_map`: a map or an integer label array (H, W). None draws one,
                with Segment Anything where a checkpoint is found, otherwise from colour regions.
            strength: 0 leaves the composite as it is, 1 takes the method's result in full.
            working_size: pixels of the longer side at which a network sees the picture, 64 to 4096; None chooses by
                the picture's and the object's size. The result has the picture's own size in any case.

        Returns:
            uint8 (H, W, 3), sRGB. Identical to the decoded upright picture where the mask is 0. With its alpha,
            (H, W, 4), where the composite has transparent parts; colours that these hide are neither used nor kept.

        Raises:
            SrinError: with a sentence for people: an unreadable or too large picture, sizes that differ, an empty or
                a full mask, a map of another size, a strength or a working size out of range.
        """
        composite = Composite.load(image, mask)
        if isinstance(semantic_map, np.ndarray):
            semantic_map = build(composite, semantic_map, "provided")
        elif semantic_map is not None:
            semantic_map = build(composite, semantic_map.labels, semantic_map.segmenter)
        return composite.with_alpha(self.harmonize_composite(composite, semantic_map, strength, working_size))

    def harmonize_composite(
        self,
        composite: Composite,
        semantic_map: SemanticMap | None = None,
        strength: float = 1.0,
        working_size: int | None = None,
    ) -> np.ndarray:
        """`harmonize` for a composite that is already decoded, with a map that was built for it (or None).

        The map may be of another size than the composite, as one drawn on `composite.shrunk(...)` is.
        """
        check_strength(strength)
        if working_size is not None and not WORKING_SIZES[0] <= working_size <= WORKING_SIZES[1]:
            low, high = WORKING_SIZES
            raise SrinError(f"The working size is {working_size} pixels; it must lie between {low} and {high}.")
        if self._network is None:
            return blend(CLASSICAL[self.method](composite.image, composite.mask), composite, strength)
        labels = None
        if self.needs_map:
            labels = (semantic_map or segment(composite.shrunk(MAP_SIDE))).labels
        import torch

        from srin.full_resolution import apply_coefficients

        coefficients = torch.from_numpy(_transform(self, composite, labels, working_size))
        return apply_coefficients(coefficients, composite, strength)

    def explain(
        self,
        image: Source,
        mask: Source,
        point: tuple[float, float],
        semantic_map: SemanticMap | np.ndarray | None = None,
    ) -> "Explanation":
        """Shows where the network looked in the background for one part of the foreground.

        Args:
            image, mask, semantic_map: as in `harmonize`; BAIN has no use for a map but to outline the part.
            point: (x, y) in pixels, on the foreground. The map's region there is the part that is asked about.

        Returns:
            An Explanation: a heat map over the background, the part, the regions' outlines, and a sentence.

        Raises:
            SrinError: as `harmonize`; also when the point is beside the foreground, and for methods without attention.
        """
        composite = Composite.load(image, mask)
        if isinstance(semantic_map, np.ndarray):
            semantic_map = build(composite, semantic_map, "provided")
        return self.explain_composite(composite, point, semantic_map or segment(composite))

    def explain_composite(
        self, composite: Composite, point: tuple[float, float], semantic_map: SemanticMap
    ) -> "Explanation":
        """`explain` for a composite that is already decoded, with a map that was built for it."""
        return _explain(self, composite, point, semantic_map)


def unavailable(method: str) -> str | None:
    """Why a method can't be used here, as a sentence, or None when it can.

    Raises:
        UnknownMethod: there is no such method.
    """
    if method not in METHODS:
        raise UnknownMethod(f"There is no method {method!r}. Choose from {', '.join(METHODS)}.")
    if method in NETWORKS and not _weights_file(method).is_file():
        return f"The weights of {method} are missing: {_weights_file(method).name} is not in assets/weights."
    return None


def load_network(method: str, device: str | None = None) -> "HarmonizationNet":
    """The network behind a method, shared by all who ask for it; device as in `Harmonizer.from_pretrained`.

    Raises:
        UnknownMethod: it is none of NETWORKS.
        MissingWeights, WeightsError: as `Harmonizer.from_pretrained`.
    """
    if method not in NETWORKS:
        raise UnknownMethod(f"{method!r} is no network. Choose from {', '.join(NETWORKS)}.")
    reason = unavailable(method)
    if reason is not None:
        raise MissingWeights(reason)
    return _network(method, checked_device(device) if device else best_device())


def _weights_file(method: str) -> Path:
    return WEIGHTS / f"{method}.safetensors"


@lru_cache(maxsize=8)
def _network(method: str, device: str) -> "HarmonizationNet":
    """One network in memory for all users. Torch is imported here, so that the rest starts without waiting for it."""
    from srin.models.checkpoint import load_weights

    return load_weights(_weights_file(method), device)


def _working_size(network: "HarmonizationNet", mask: np.ndarray) -> int:
    """The size chosen for a picture: pixels of its longer side.

    The object gets six tenths of the size that the network was trained at, as far as the picture then has between one and
    two times that size. Textures look as they did in training there: on held-out photos larger sizes gained less, except
    for small objects (docs/method.md).
    """
    trained, side = network.config.working_size, max(mask.shape)
    _, _, width, height = extent(mask)
    wanted = 0.6 * trained * side / max(width, height, 1)
    return round(min(max(wanted, trained), 2 * trained))


def _shape_at(side: int, size: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns with `side` pixels on the longer side, both multiples of 8, for a picture of this size."""
    shrink = side / max(size)
    rows, columns = (max(MIN_SIDE, round(length * shrink / 8) * 8) for length in size)
    return rows, columns


@on_gpu
def _explain(
    harmonizer: Harmonizer, composite: Composite, point: tuple[float, float], semantic_map: SemanticMap
) -> "Explanation":
    """`Harmonizer.explain_composite`."""
    network = harmonizer._network
    if network is None:
        raise SrinError(f"{harmonizer.method} has no attention to show. Choose BAIN or SRIN.")
    from srin.explain import explain_network

    inputs = network_inputs(network, composite, semantic_map.labels if harmonizer.needs_map else None)
    return explain_network(network, inputs, composite, semantic_map, point)


@on_gpu
def _transform(
    harmonizer: Harmonizer, composite: Composite, labels: np.ndarray | None, working_size: int | None
) -> np.ndarray:
    """What the network does to the foreground's colours: float32 (1, 12, h, w), see `apply_coefficients`."""
    import torch

    from srin.full_resolution import fit_coefficients

    network = harmonizer._network
    assert network is not None
    image, mask, regions = network_inputs(network, composite, labels, working_size)
    kind = image.device.type
    # Half precision on a GPU, but for the statistics; there is no CPU here on which it would be faster.
    with torch.inference_mode(), torch.autocast(kind, torch.float16, enabled=kind == "cuda"):
        affine = network.config.head == "affine"
        found = network.coefficients(image, mask, regions) if affine else network(image, mask, regions)
    coefficients = found if affine else fit_coefficients(found.float(), image, mask)
    return coefficients.float().cpu().numpy()


def network_inputs(
    network: "HarmonizationNet", composite: Composite, labels: np.ndarray | None, working_size: int | None = None
) -> "tuple[Tensor, Tensor, Tensor | None]":
    """What the network sees of a composite at its working size: image, mask and regions, see HarmonizationNet."""
    import torch

    device = next(network.parameters()).device
    rows, columns = _shape_at(working_size or _working_size(network, composite.mask), composite.mask.shape)
    small = cv2.resize(composite.image, (columns, rows), interpolation=cv2.INTER_AREA)
    soft = cv2.resize(composite.mask, (columns, rows), interpolation=cv2.INTER_AREA)
    image = torch.from_numpy(small).to(device).permute(2, 0, 1)[None].float() / 127.5 - 1
    mask = torch.from_numpy(soft).to(device)[None, None].float() / 255
    regions = None
    if labels is not None:
        height, width = labels.shape
        nearest = labels[(np.arange(rows) * height // rows)[:, None], (np.arange(columns) * width // columns)[None]]
        regions = torch.from_numpy(nearest).to(device)[None].long()
    return image, mask, regions
