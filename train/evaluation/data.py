"""Reads composites with known truth, from iHarmony4 or from a folder of composites, masks and real pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srin.composite import Composite
from srin.errors import ImageError, SrinError
from srin.formats import EXTENSIONS
from srin.image_io import load_image
from srin.pairing import Index, name_key, picture_files
from srin.remarks import remark
from train.data.iharmony4 import SHOWN, ResizedCache, Sample, samples
from train.data.tables import read_table

FOLDERS = ("composite", "mask", "real")
LABELS = ("family", "rim", "source", "photo", "series", "second_object")
# Families without anything to harmonize; `benchmarks.unaltered` makes the second.
UNALTERED = ("identity", "requantized")
# Global recolourings of the object, of kinds that training uses too. One row of a report shows them together.
PLAIN = ("camera", "tone", "lab", "rgbcov")


@dataclass(frozen=True)
class EvaluationData:
    """A set of composites with known truth.

    Attributes:
        name: to be shown to people.
        samples: the composites, in a fixed order.
        labels: by the names of some samples, their labels (see `from_folder`).
        cache: pictures are squeezed to its size before they are harmonized; None: they are harmonized at their own size.
    """

    name: str
    samples: list[Sample]
    labels: dict[str, dict[str, str]]
    cache: ResizedCache | None

    def load(self, sample: Sample) -> tuple[Composite, np.ndarray]:
        """The composite and the real picture, uint8 (H, W, 3). Raises SrinError when they can't be read or don't fit."""
        if self.cache is not None:
            image, mask, real = self.cache.load(sample)
            return Composite(image, mask), real
        composite, real = Composite.load(sample.composite, sample.mask), load_image(sample.real, "real picture")
        if real.shape != composite.image.shape:
            (h, w), (rows, columns) = real.shape[:2], composite.mask.shape
            raise ImageError(f"The real picture has {w} x {h} pixels and the composite {columns} x {rows}.")
        return composite, real


def open_data(root: Path, subsets: Sequence[str] | None, cache: Path, size: int) -> EvaluationData:
    """Opens iHarmony4 or a folder of composites, whichever `root` is.

    Args:
        root: iHarmony4's folder, whose test split is taken, or a folder as in `from_folder`.
        subsets: sub-datasets of iHarmony4; None takes all.
        cache: folder for resized pictures of iHarmony4. size: their side in pixels.

    Raises:
        SrinError: it is neither, it is empty, or files are missing; they are named together.
    """
    if not root.is_dir():
        raise SrinError(f"There is no folder {root}.")
    if (root / "composite").is_dir():
        if subsets is not None:
            raise SrinError(f"{root} is a folder of composites; only iHarmony4 has sub-datasets to choose.")
        return from_folder(root)
    if not any(root.glob("IHD_*.txt")) and not any(root.glob("*/*_test.txt")):
        raise SrinError(f"{root} holds neither composite/, mask/ and real/, nor the lists of iHarmony4 (IHD_test.txt).")
    return EvaluationData(root.name, samples(root, "test", subsets), {}, ResizedCache(cache, size))


def from_folder(root: Path) -> EvaluationData:
    """Reads composite/ID.png, mask/ID.png and real/ID.png (other formats too) and, if there, index.csv and labels.csv.

    Both tables have a column "id" and any of LABELS; other columns are ignored. "family": the kind of recolouring; for
    those in UNALTERED there is none. "rim": "clean" or "leak", whether the rim shows the true colours. "source": the data
    set that the photo is from. "photo", "series": the photo, and the series of similar photos, that a composite is from;
    composites of one are not independent. "second_object": "yes" or "no", whether the photo shows more of the object's
    class beside the mask. `benchmarks.photo_labels` writes labels.csv.

    Raises:
        SrinError: a folder is missing or empty, a file has no partner, or a table has no column "id".
    """
    files: dict[str, dict[str, Path]] = {}
    for folder in FOLDERS:
        if not (root / folder).is_dir():
            raise SrinError(f"There is no folder {root / folder}; {root} needs composite/, mask/ and real/.")
        index = Index.build(root / folder, "file", picture_files(root / folder))
        files[folder] = {stem: index.find(stem) for stem in index.files}
    names = sorted(set().union(*files.values()))
    lone = [f"{folder}/{name}" for name in names for folder in FOLDERS if name not in files[folder]]
    if lone:
        more = f" and {len(lone) - SHOWN} more" if len(lone) > SHOWN else ""
        raise SrinError(f"Every composite needs its mask and its real picture. Missing: {', '.join(lone[:SHOWN])}{more}.")
    if not names:
        raise SrinError(f"There are no pictures in {root / 'composite'}.")
    found = [Sample(name, "", *(files[folder][name] for folder in FOLDERS)) for name in names]
    labels: dict[str, dict[str, str]] = {}
    index = Index(root / FOLDERS[0], "picture", {name: [files[FOLDERS[0]][name]] for name in names})
    for table in ("index.csv", "labels.csv"):
        known = _read_labels(root / table)
        for name, values in known.items():
            labels.setdefault(name, {}).update(values)
        lone = [f"{name}.{index.nearly(name)}" for name in known if name not in index.files]
        if lone:
            more = f" And {len(lone) - SHOWN} more." if len(lone) > SHOWN else ""
            remark(f"{root / table} has ids without a picture: {' '.join(lone[:SHOWN])}{more}")
    return EvaluationData(root.name, found, labels, None)


def _read_labels(path: Path) -> dict[str, dict[str, str]]:
    """A table's labels by the stem of the files; its ids may include the files' extension."""
    if not path.is_file():
        return {}
    try:
        rows = read_table(path, ("id",), LABELS)
    except ValueError as error:
        raise SrinError(f"{error}.") from error
    known = {}
    for row in rows:
        stem, dot, extension = row["id"].rpartition(".")
        name = stem if dot and f".{extension.lower()}" in EXTENSIONS else row["id"]
        known[name_key(name)] = {key: row[key] for key in LABELS if row[key]}
    return known
