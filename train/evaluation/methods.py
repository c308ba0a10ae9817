"""The methods to be scored: classical ones, the networks that come with the app, and any weights files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch

from srin.classical import CLASSICAL
from srin.errors import MissingWeights, SrinError
from srin.harmonizer import METHODS, Harmonizer, unavailable
from srin.models import WEIGHTS
from srin.models.checkpoint import load_weights
from srin.models.config import ModelConfig
from train.evaluation.oracle import ORACLE

MapKind = Literal["true", "shuffled", "one-region"]
MAP_KINDS: tuple[MapKind, ...] = get_args(MapKind)


@dataclass(frozen=True)
class Method:
    """A method with one of its weights files.

    Attributes:
        name: unique in a report, except that the seeds of one method share it.
        seed: index, from 0, among the weights files of a method that was trained several times.
        harmonizer: runs the method.
        config, parameters: of its network; None and 0 for a classical method.
        map: the semantic map that it gets, if it uses one: the picture's own, another picture's, or one region on each
            side, which holds no information.
    """

    name: str
    harmonizer: Harmonizer
    config: ModelConfig | None = None
    parameters: int = 0
    map: MapKind = "true"
    seed: int = 0


def gather(
    names: Sequence[str] | None, weights: Sequence[tuple[str, Sequence[Path]]], maps: Iterable[MapKind], reference: str
) -> list[Method]:
    """Loads everything that is to be scored.

    Args:
        names: of METHODS; None takes all whose weights are there. A network of the same name in `weights` replaces one.
        weights: names and files of further networks; several files of one network are its seeds. The files at the same
            position of two networks count as a pair, trained with one seed on the same data.
        maps: each network that looks at a map is scored once with each kind.
        reference: the method that others are compared with.

    Raises:
        SrinError: a method or its weights are missing, a weights file is broken or of another architecture, files that
            should differ by their seed are of different configurations, a network has another's name, a classical
            method's or the oracle's, or the reference is not among the methods.
    """
    named = [name for name, _ in weights]
    taken = [name for name in named if name in (*CLASSICAL, ORACLE) or named.count(name) > 1]
    if taken:
        raise SrinError(f"The name {taken[0]!r} is taken. Give each weights file a name of its own.")
    if names is None:
        names = [name for name in METHODS if unavailable(name) is None]
    found = []
    files: list[tuple[str, Sequence[Path]]] = []
    for name in dict.fromkeys(names):
        if name in named:
            continue
        reason = unavailable(name)
        if reason is not None:
            raise MissingWeights(reason)
        if name in CLASSICAL:
            found.append(Method(name, Harmonizer(name, None)))
        else:
            files.append((name, [WEIGHTS / f"{name}.safetensors"]))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for name, seeds in [*files, *weights]:
        networks = [load_weights(file, device) for file in seeds]
        if any(network.config != networks[0].config for network in networks):
            raise SrinError(f"The weights files of {name!r} belong to different networks, not to seeds of one.")
        harmonizers = [Harmonizer(name, network) for network in networks]
        parameters = sum(p.numel() for p in networks[0].parameters())
        for kind in maps if harmonizers[0].needs_map else ("true",):
            label = name if kind == "true" else f"{name}, {kind} map"
            for seed, harmonizer in enumerate(harmonizers):
                found.append(Method(label, harmonizer, networks[0].config, parameters, kind, seed))
    if reference not in [method.name for method in found]:
        known = ", ".join(dict.fromkeys(method.name for method in found))
        raise SrinError(f"The reference {reference!r} is not among the methods that are scored: {known}.")
    return found
