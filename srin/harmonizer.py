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
        """Pickles a harmonizer of `from_pretrained` as its arguments, without weights: unpickling loads the network."""
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
                None: the network's own. The result has the picture's own size in any case.
            reference: for NETWORKS: the part of the background that may lend its light and colours. A mask of the same
                size, white on that part, or ids of the semantic map's regions (then the map must be given). None: all of
                the background.
            offsets: for NETWORKS: a person's changes to what the network decided. None: no changes.

        Returns:
            uint8 (H, W, 3), sRGB. Identical to the decoded upright picture where the mask is 0. If the composite has
            transparent parts, (H, W, 4) with its alpha; colours that are fully transparent are neither used nor kept.
            The attribute `adjustment` holds what a network decided.

        Raises:
            SrinError: an unreadable or too large picture, sizes that differ, an empty or a full mask, a map of another
                size, a strength or a working size out of range, a reference that leaves nothing or names regions that
                don't exist, or a reference or offsets for a method that takes none.
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
        onto: Composite | None = None,
    ) -> Harmonized:
        """`harmonize` for a composite that is already decoded, with a map that was built for it (or None).

        The map may differ in size from the composite, as those of `srin.segmentation.semantic_map.draw` do.
        onto: the same composite at another size, which is harmonized as decided for `composite`; None: that itself.
        """
        onto = onto or composite
        check_strength(strength)
        allowed = self.allowed(composite, reference, semantic_map.labels if semantic_map else None)
        self._check(offsets)
        if self._network is None:
            return Harmonized.of(blend(CLASSICAL[self.method].apply(onto.image, onto.mask), onto, strength))
        small = self._seen(composite, semantic_map, working_size, allowed)
        decided = _transform(self, small)
        shown = _Shown(small, decided) if self.decides and small.mask.any() else None
        result = apply_coefficients(_changed(decided, shown, offsets), onto, strength)
        return Harmonized.of(result, shown.adjustment() if shown else None)

    def coefficients(
        self,
        composite: Composite,
        semantic_map: SemanticMap | None = None,
        offsets: Offsets | None = None,
        reference: Reference | None = None,
    ) -> np.ndarray | None:
        """The colour transforms that a network decides on, which can also be applied to a larger copy of the composite.

        composite, semantic_map, offsets, reference: as in `harmonize_composite`. Returns float32 (1, 12, h, w), see
        `srin.full_resolution.apply_coefficients`; None for classical methods.
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
        """The semantic map for `harmonize_composite`, read from a file or drawn.

        Args:
            path: a label picture. segmenter: what draws the map otherwise, see `srin.segmentation.semantic_map.segment`.
            reference: a mask, as in `harmonize`.

        Returns:
            The map, or None for methods that use none. Errors are those of `read_or_draw` and `harmonize`.
        """
        allowed = self.allowed(composite, reference)
        return read_or_draw(filled(composite, allowed), path, segmenter) if self.needs_map else None

    def allowed(
        self, composite: Composite, reference: Reference | None, labels: np.ndarray | None = None
    ) -> np.ndarray | None:
        """Where a reference lets the background lend, as `srin.reference.lenders` returns it; None: everywhere.

        Raises SrinError as `harmonize` does.
        """
        if reference is None:
            return None
        if not self.decides:
            raise SrinError(f"{self.method} takes no reference: only the networks {', '.join(NETWORKS)} do.")
        return lenders(reference, composite, labels)

    @property
    def working_size(self) -> int | None:
        """The network's working size in pixels, see `srin.working_size.seen`; None for methods other than NETWORKS."""
        return self._network.config.working_size if self._network is not None and self.decides else None

    @property
    def decides(self) -> bool:
        """Whether the method has a `srin.models.network.HarmonizationNet`, as NETWORKS have. Only these methods take
        references and offsets, and can be explained."""
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
            image, mask: as in `harmonize`. semantic_map: as in `harmonize`; its regions are excluded one by one, for BAIN
                and the baseline too.
            point: (x, y) in pixels, on the foreground. The map's region there is the part that is explained.
            reference: as in `harmonize`; regions that may not lend are not explained.

        Returns:
            An Explanation: each background region's weight and effect, a heat map of the weights, and a sentence.

        Raises:
            SrinError: as `harmonize`; also when the point is not on the foreground, and for methods outside NETWORKS.
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

        proceed: called now and then with the share that is done; may raise an exception to stop. It is not called on a
            GPU that is lent for a call, since the work then runs in another process.
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
    """A network's training notes from its weights file, such as `command` and `images`; {} if there is no such file."""
    from safetensors import safe_open

    if method in CLASSICAL or unavailable(method) is not None:
        return {}
    with safe_open(_weights_file(method), framework="numpy") as file:
        return {name: text for name, text in (file.metadata() or {}).items() if name != "config"}


def load_network(method: str, device: str | None = None) -> "Network":
    """The network of a method, shared between all callers; device as in `Harmonizer.from_pretrained`.

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
    """Loads a network once for all users. Torch is imported here, so that the rest starts without waiting for it."""
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
    """The network's transforms of the foreground's colours: float32 (1, 12, h, w), see `apply_coefficients`."""
    import torch

    from srin.models.network import HarmonizationNet

    network = harmonizer._network
    assert network is not None
    device = next(network.parameters()).device
    image, mask, regions, allowed = small.tensors(device)
    # Half precision on a GPU, except for the statistics; no CPU here is faster with it.
    with torch.inference_mode(), torch.autocast(device.type, torch.float16, enabled=device.type == "cuda"):
        if isinstance(network, HarmonizationNet):
            coefficients = network.coefficients(image, mask, regions, allowed)
        else:
            coefficients = fit_coefficients(network(image, mask, regions).float(), image, mask)
    return coefficients.float().cpu().numpy()


def _changed(decided: np.ndarray, shown: "_Shown | None", offsets: Offsets | None) -> np.ndarray:
    """A network's transforms with the offsets applied. An object too small for the working size counts as grey."""
    if offsets is None or offsets.change_nothing:
        return decided
    return offsets.applied(decided, shown.mean if shown else np.full(3, 0.5))


class _Shown:
    """The picture before and after a network's transforms, at the working size. The mask must not be 0 everywhere.

    Attributes:
        before, after: float32 (h, w, 3), sRGB in [0, 1]; after is not clipped. mask: float32 (h, w) in [0, 1].
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
        """(3,), sRGB in [0, 1]: the object's mean colour after the network's transforms."""
        return (self.after.clip(0, 1) * self.mask[..., None]).sum((0, 1), dtype=np.float64) / self.mask.sum()

    def adjustment(self) -> Adjustment:
        small, regions = self._small, None
        if small.regions is not None:
            inside = np.bincount(small.regions.ravel(), small.mask.ravel()) / np.bincount(small.regions.ravel()).clip(1)
            regions = np.where((inside > 127)[small.regions], small.regions, -1)
        return measure(self.before, self.after, self.mask, regions)
