"""Harmonizer: one call, any size in, the same size out."""

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from srin.adjustment import Adjustment, Harmonized, measure
from srin.classical import CLASSICAL
from srin.composite import Composite, blend, check_strength
from srin.device import best_device, checked_device
from srin.errors import MissingWeights, SrinError, UnknownMethod
from srin.full_resolution import apply_coefficients, fit_coefficients
from srin.gpu import is_lent, on_gpu
from srin.image_io import Source
from srin.models import WEIGHTS
from srin.offsets import Offsets
from srin.reference import Reference, filled, lenders
from srin.segmentation.semantic_map import SemanticMap, build, draw, read_or_draw
from srin.working_size import Seen, seen

if TYPE_CHECKING:
    from srin.explain import Explanation
    from srin.models import Network

NETWORKS = ("baseline", "bain", "srin")
PAPER_NETWORKS = ("paper-baseline", "paper-bain", "paper-srin")  # the paper's equations to the letter
METHODS = (*CLASSICAL, *NETWORKS, *PAPER_NETWORKS)


class Harmonizer:
    """One harmonization method, ready to use.

    Attributes:
        method: its name, one of METHODS.
        needs_map: whether it looks at a semantic map.
    """

    def __init__(self, method: str, network: "Network | None") -> None:
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
        harmonizer = cls(method, None if method in CLASSICAL else load_network(method, device))
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
        reference: Reference | None = None,
        offsets: Offsets | None = None,
    ) -> Harmonized:
        """Makes the masked foreground match the light and the colours of its background.

        Args:
            image: the composite: a path, bytes, a PIL image, or a uint8 array (H, W), (H, W, 3) or (H, W, 4).
            mask: of the same size, white (255) on the pasted foreground; soft edges are kept soft.
            semantic_map: for methods with `needs_map`: a map or an integer label array (H, W). None draws one,
                with Segment Anything where a checkpoint is found, otherwise from colour regions.
            strength: 0 leaves the composite as it is, 1 takes the method's result in full, up to 2 extrapolates.
            working_size: the size at which a network sees the picture, 64 to 4096 pixels, see `srin.working_size.seen`;
                None: that of its training. The result has the picture's own size in any case.
            reference: for NETWORKS: who of the background may lend its light and colours. A mask of the same size,
                white where it may, or ids of the semantic map's regions (then the map must be given). None: all of it.
            offsets: for NETWORKS: a person's changes to what the network decided. None: none.

        Returns:
            uint8 (H, W, 3), sRGB. Identical to the decoded upright picture where the mask is 0. With its alpha,
            (H, W, 4), where the composite has transparent parts; colours that these hide are neither used nor kept. Its
            attribute `adjustment` says what a network decided.

        Raises:
            SrinError: with a sentence for people: an unreadable or too large picture, sizes that differ, an empty or
                a full mask, a map of another size, a strength or a working size out of range, a reference that leaves
                nothing, that names regions which aren't there; a reference or offsets for a method that takes none.
        """
        composite = Composite.load(image, mask)
        if semantic_map is not None:
            given = semantic_map.labels if isinstance(semantic_map, SemanticMap) else semantic_map
            name = semantic_map.segmenter if isinstance(semantic_map, SemanticMap) else "provided"
            reference = self.allowed(composite, reference, given)
            semantic_map = build(filled(composite, reference), given, name)
        harmonized = self.harmonize_composite(composite, semantic_map, strength, working_size, reference, offsets)
        return Harmonized.of(composite.with_alpha(harmonized), harmonized.adjustment)

    def harmonize_composite(
        self,
        composite: Composite,
        semantic_map: SemanticMap | None = None,
        strength: float = 1.0,
        working_size: int | None = None,
        reference: Reference | None = None,
        offsets: Offsets | None = None,
    ) -> Harmonized:
        """`harmonize` for a composite that is already decoded, with a map that was built for it (or None).

        The map may be of another size than the composite, as `srin.segmentation.semantic_map.draw` makes them.
        """
        check_strength(strength)
        allowed = self.allowed(composite, reference, semantic_map.labels if semantic_map else None)
        self._check(offsets)
        if self._network is None:
            return Harmonized.of(
                blend(CLASSICAL[self.method].apply(composite.image, composite.mask), composite, strength)
            )
        small = self._seen(composite, semantic_map, working_size, allowed)
        decided = _transform(self, small)
        shown = _Shown(small, decided) if self.decides and small.mask.any() else None
        result = apply_coefficients(_changed(decided, shown, offsets), composite, strength)
        return Harmonized.of(result, shown.adjustment() if shown else None)

    def coefficients(
        self,
        composite: Composite,
        semantic_map: SemanticMap | None = None,
        offsets: Offsets | None = None,
        reference: Reference | None = None,
    ) -> np.ndarray | None:
        """What a network does to a composite's colours, to be applied to a larger copy of it as well.

        composite, semantic_map, offsets, reference: as in `harmonize_composite`. Returns float32 (1, 12, h, w), see
        `srin.full_resolution.apply_coefficients`; None for methods that are no network.
        """
        allowed = self.allowed(composite, reference, semantic_map.labels if semantic_map else None)
        self._check(offsets)
        if self._network is None:
            return None
        small = self._seen(composite, semantic_map, allowed=allowed)
        decided = _transform(self, small)
        return _changed(decided, _Shown(small, decided) if small.mask.any() else None, offsets)

    def _check(self, offsets: Offsets | None) -> None:
        if offsets and not offsets.change_nothing and not self.decides:
            raise SrinError(f"{self.method} takes no offsets: only the networks {', '.join(NETWORKS)} do.")

    def _seen(
        self,
        composite: Composite,
        semantic_map: SemanticMap | None,
        working_size: int | None = None,
        allowed: np.ndarray | None = None,
    ) -> Seen:
        assert self._network is not None
        lending = filled(composite, allowed)
        labels = (semantic_map or draw(lending)).labels if self.needs_map else None
        return seen(self._network.config, lending, labels, working_size, allowed)

    def map_for(
        self,
        composite: Composite,
        path: str | os.PathLike[str] | None = None,
        segmenter: str = "auto",
        reference: Reference | None = None,
    ) -> SemanticMap | None:
        """The map that this method takes for a composite, for `harmonize_composite`: from a file, or drawn.

        Args:
            path: a label picture. segmenter: who draws it else, see `srin.segmentation.semantic_map.segment`.
            reference: a mask, as in `harmonize`.

        Returns:
            None where the method looks at no map. Errors are those of `read_or_draw` and `harmonize`.
        """
        allowed = self.allowed(composite, reference)
        return read_or_draw(filled(composite, allowed), path, segmenter) if self.needs_map else None

    def allowed(
        self, composite: Composite, reference: Reference | None, labels: np.ndarray | None = None
    ) -> np.ndarray | None:
        """A reference as `srin.reference.lenders` has it, or None. Raises SrinError, as `harmonize`."""
        if reference is None:
            return None
        if not self.decides:
            raise SrinError(f"{self.method} takes no reference: only the networks {', '.join(NETWORKS)} do.")
        return lenders(reference, composite, labels)

    @property
    def working_size(self) -> int | None:
        """The default networks' own, see `srin.working_size.seen`; None for methods that have none."""
        return self._network.config.working_size if self._network is not None and self.decides else None

    @property
    def decides(self) -> bool:
        """Whether it is one of the networks whose decision can be read, see `srin.models.network`: they take references
        and offsets."""
        if self._network is None:
            return False
        from srin.models.network import HarmonizationNet

        return isinstance(self._network, HarmonizationNet)

    def explain(
        self,
        image: Source,
        mask: Source,
        point: tuple[float, float],
        semantic_map: SemanticMap | np.ndarray | None = None,
        reference: Reference | None = None,
    ) -> "Explanation":
        """Shows what each region of the background did to one part of the foreground.

        Args:
            image, mask: as in `harmonize`. semantic_map: the same; its regions are left out one by one, for BAIN and the
                baseline too.
            point: (x, y) in pixels, on the foreground. The map's region there is the part that is asked about.
            reference: as in `harmonize`; what may not lend is not explained.

        Returns:
            An Explanation: each background region's weight and effect, a heat map of the weights, and a sentence.

        Raises:
            SrinError: as `harmonize`; also when the point is beside the foreground, and for a method that is none of
                NETWORKS.
        """
        composite = Composite.load(image, mask)
        if isinstance(semantic_map, np.ndarray):
            semantic_map = build(composite, semantic_map, "provided")
        if semantic_map is None:
            allowed = self.allowed(composite, reference) if self.decides else None
            semantic_map = draw(filled(composite, allowed))
        return self.explain_composite(composite, point, semantic_map, reference)

    def explain_composite(
        self,
        composite: Composite,
        point: tuple[float, float],
        semantic_map: SemanticMap,
        reference: Reference | None = None,
        proceed: Callable[[float], None] = lambda done: None,
    ) -> "Explanation":
        """`explain` for a composite that is already decoded, with a map that was built for it, of any size.

        proceed: called now and then with the share that is done; may raise an exception to stop. Not on a GPU that is
            lent for a call, which runs in another process.
        """
        if not self.decides:
            raise SrinError(f"{self.method} can't be explained: only the networks {', '.join(NETWORKS)} can.")
        allowed = self.allowed(composite, reference, semantic_map.labels)
        return _explain(self, composite, point, semantic_map, allowed, *(() if is_lent else (proceed,)))


def unavailable(method: str) -> str | None:
    """Why a method can't be used here, as a sentence, or None when it can.

    Raises:
        UnknownMethod: there is no such method.
    """
    if method not in METHODS:
        raise UnknownMethod(f"There is no method {method!r}. Choose from {', '.join(METHODS)}.")
    if method not in CLASSICAL and not _weights_file(method).is_file():
        return f"The weights of {method} are missing: {_weights_file(method).name} is not in assets/weights."
    return None


def training_notes(method: str) -> dict[str, str]:
    """What a network's weights file says of its training, such as `command` and `images`; {} where there is none."""
    from safetensors import safe_open

    if method in CLASSICAL or unavailable(method) is not None:
        return {}
    with safe_open(_weights_file(method), framework="numpy") as file:
        return {name: text for name, text in (file.metadata() or {}).items() if name != "config"}


def load_network(method: str, device: str | None = None) -> "Network":
    """The network behind a method, shared by all who ask for it; device as in `Harmonizer.from_pretrained`.

    Raises:
        UnknownMethod: it is no network.
        MissingWeights, WeightsError: as `Harmonizer.from_pretrained`.
    """
    networks = (*NETWORKS, *PAPER_NETWORKS)
    if method not in networks:
        raise UnknownMethod(f"{method!r} is no network. Choose from {', '.join(networks)}.")
    reason = unavailable(method)
    if reason is not None:
        raise MissingWeights(reason)
    return _network(method, checked_device(device) if device else best_device())


def _weights_file(method: str) -> Path:
    return WEIGHTS / f"{method}.safetensors"


@lru_cache(maxsize=8)
def _network(method: str, device: str) -> "Network":
    """One network in memory for all users. Torch is imported here, so that the rest starts without waiting for it."""
    import torch

    from srin.models.checkpoint import load_weights
    from srin.models.network import HarmonizationNet

    network: Any = load_weights(_weights_file(method), device)
    if isinstance(network, HarmonizationNet):
        network.encoder.to(memory_format=torch.channels_last)
    return network


@on_gpu
def _explain(
    harmonizer: Harmonizer,
    composite: Composite,
    point: tuple[float, float],
    semantic_map: SemanticMap,
    allowed: np.ndarray | None,
    proceed: Callable[[float], None] = lambda done: None,
) -> "Explanation":
    """`Harmonizer.explain_composite`."""
    from srin.explain import explain_network
    from srin.models.network import HarmonizationNet

    assert isinstance(harmonizer._network, HarmonizationNet)  # `explain_composite` has checked it
    return explain_network(harmonizer._network, composite, point, semantic_map, allowed, proceed)


@on_gpu
def _transform(harmonizer: Harmonizer, small: Seen) -> np.ndarray:
    """What the network does to the foreground's colours: float32 (1, 12, h, w), see `apply_coefficients`."""
    import torch

    from srin.models.network import HarmonizationNet

    network = harmonizer._network
    assert network is not None
    device = next(network.parameters()).device
    image, mask, regions, allowed = small.tensors(device)
    # Half precision on a GPU, but for the statistics; there is no CPU here on which it would be faster.
    with torch.inference_mode(), torch.autocast(device.type, torch.float16, enabled=device.type == "cuda"):
        if isinstance(network, HarmonizationNet):
            coefficients = network.coefficients(image, mask, regions, allowed)
        else:
            coefficients = fit_coefficients(network(image, mask, regions).float(), image, mask)
    return coefficients.float().cpu().numpy()


def _changed(decided: np.ndarray, shown: "_Shown | None", offsets: Offsets | None) -> np.ndarray:
    """What a network decided, with offsets. An object too small to be seen counts as grey."""
    if offsets is None or offsets.change_nothing:
        return decided
    return offsets.applied(decided, shown.mean if shown else np.full(3, 0.5))


class _Shown:
    """The working-size picture before and after what a network decided. Not for an object too small to be seen there.

    Attributes:
        before, after: float32 (h, w, 3), sRGB in [0, 1]; after may lie beyond. mask: float32 (h, w).
    """

    def __init__(self, small: Seen, decided: np.ndarray) -> None:
        import torch

        from srin.models.network import apply_affine

        coefficients = torch.from_numpy(decided)
        picture, mask, _, _ = small.tensors(coefficients.device)
        changed = apply_affine(coefficients, picture)
        self.before, self.after = ((x[0].permute(1, 2, 0).numpy() + 1) / 2 for x in (picture, changed))
        self.mask = mask[0, 0].numpy()
        self._small = small

    @property
    def mean(self) -> np.ndarray:
        """(3,), sRGB in [0, 1]: of the object as the network makes it."""
        return (self.after.clip(0, 1) * self.mask[..., None]).sum((0, 1), dtype=np.float64) / self.mask.sum()

    def adjustment(self) -> Adjustment:
        small, regions = self._small, None
        if small.regions is not None:
            inside = np.bincount(small.regions.ravel(), small.mask.ravel()) / np.bincount(small.regions.ravel()).clip(1)
            regions = np.where((inside > 127)[small.regions], small.regions, -1)
        return measure(self.before, self.after, self.mask, regions)
