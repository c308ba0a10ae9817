"""Makes the semantic maps of a data set once: compact label maps, found again by their picture's content.

    python -m train.precompute_maps PICTURES MAPS --segmenter sam
    accelerate launch --num_processes 4 -m train.precompute_maps PICTURES MAPS      # and more machines likewise

PICTURES is a folder; its subfolders are searched too. Masks are left out: files in folders named "masks", and those whose
names end in "_mask". When started again, it continues where it stopped. Pictures that can't be read are listed at the
end, and don't stop the rest. Training takes the folder as data.maps=MAPS.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from accelerate import PartialState
from accelerate.utils import gather_object
from tqdm import tqdm

from srin.batch import Processes
from srin.errors import OutputError, SrinError
from srin.image_io import load_image
from srin.outputs import check_folder, state
from srin.pairing import is_picture
from srin.segmentation.semantic_map import segment, segmenter_name
from train.data.maps import map_path

SIDE = 512  # pixels of the longer side at which maps are made and kept; training sees 256 and less


def find_pictures(folder: Path) -> list[Path]:
    """All pictures of a folder and its subfolders except masks, sorted. Raises ValueError when there are none."""
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if is_picture(path) and path.parent.name != "masks" and not path.stem.endswith("_mask")
    ]
    if not found:
        raise ValueError(f"there are no pictures in {folder}")
    return found


def precompute(pictures: list[Path], maps: Path, segmenter: str, show_progress: bool) -> list[str]:
    """Makes the maps that are missing, incomplete or by another segmenter. Returns a line for each picture that failed.

    Raises:
        OutputError: the folder of maps can't be written. SegmentationError: there is no such segmenter.
    """
    problems = []
    settings = {"segmenter": segmenter_name(segmenter)}
    for picture in tqdm(pictures, unit="picture", disable=not show_progress):
        try:
            target = map_path(maps, picture)
            found = state(target, settings, ())
            if found == "another's":
                raise OutputError(f"{target} was not made by srin and is kept. Move it away.")
            if found == "done":
                continue
            image = load_image(picture)
            shrink = min(1.0, SIDE / max(image.shape[:2]))
            image = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
            made = segment(np.ascontiguousarray(image), segmenter)
        except (SrinError, OSError) as error:
            problems.append(f"{picture}: {error}")
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        made.save(target, settings)
    return problems


def main() -> None:
    parser = argparse.ArgumentParser(
        "train.precompute_maps", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", type=Path, metavar="PICTURES")
    parser.add_argument("maps", type=Path, metavar="MAPS")
    parser.add_argument("--segmenter", choices=["auto", "sam", "colour"], default="auto")
    arguments = parser.parse_args()
    Processes.launched()  # under a launcher without a GPU, each process would take itself for the only one
    processes = PartialState()
    try:
        check_folder(arguments.maps, [arguments.pictures], deep=True)
        pictures = find_pictures(arguments.pictures)
        with processes.split_between_processes(pictures) as share:
            problems = precompute(share, arguments.maps, arguments.segmenter, processes.is_main_process)
    except (ValueError, OSError, SrinError) as error:
        sys.exit(f"train.precompute_maps: {error}")
    problems = gather_object(problems)
    if processes.is_main_process:
        print(f"{len(pictures) - len(problems)} of {len(pictures)} pictures have a map in {arguments.maps}")
        for problem in problems:
            print(problem, file=sys.stderr)
    processes.destroy_process_group()


if __name__ == "__main__":
    main()
