"""Finds objects in photos that have no masks, with the embedded segmenter, so that they can be trained on.

    python -m train.find_objects PHOTOS FOUND        # then data.found=FOUND

PHOTOS is a folder with a manifest.csv, see `train.data.photos`; its photos without a mask are processed. A photo's
subject is kept if the segmenter is sure: it gives the mask a high score, and finds the same in the mirror image. The
other photos are marked as processed. When started again, it continues where it stopped. Photos that can't be read are
listed at the end, and don't stop the rest.
"""

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from srin import budget
from srin.errors import SegmentationError, SrinError
from srin.image_io import load_image, write_whole
from srin.outputs import check_folder
from srin.remarks import collected
from srin.segmentation.candidate import overlap
from srin.segmentation.embedded import EmbeddedEngine
from train.data.maps import content_path
from train.data.photos import MAX_SHARE, MIN_SHARE, File, find_photos
from train.runs import check_alone

SIDE = 640  # pixels of the longer side at which photos are segmented, and masks kept
# On 220 held-out photos, these limits keep 95 masks, whose IoU with people's masks is 0.92 on average.
SURE = 0.85  # least score
SAME = 0.9  # least IoU with the mask found in the mirror image


def sure_subject(image: np.ndarray) -> np.ndarray | None:
    """The subject's mask, bool (H, W), of a photo, uint8 (H, W, 3), or None if the segmenter is not sure.

    Raises WeightsError.
    """
    masks = []
    for picture in (image, np.ascontiguousarray(image[:, ::-1])):
        try:
            candidate = EmbeddedEngine(picture).subject()
        except SegmentationError:
            return None
        mask = candidate.mask(*image.shape[:2]) > 0
        if (candidate.score or 0.0) < SURE or not MIN_SHARE < mask.mean() < MAX_SHARE:
            return None
        masks.append(mask)
    return masks[0] if overlap(masks[0], masks[1][:, ::-1]) >= SAME else None


def find(photos: list[File], folder: Path) -> tuple[int, list[str]]:
    """Processes the photos that were not processed yet. Returns how many photos have an object now, and the problems.

    Raises:
        OutputError: the folder can't be written. WeightsError: the segmenter's weights are missing or broken.
    """

    def job(photo: File) -> bool | str:
        try:
            content = photo.read()
            target = content_path(folder, content)
            if target.is_file():
                return bool(target.stat().st_size)
            with budget.job(), collected():
                image = load_image(content)
            shrink = min(1.0, SIDE / max(image.shape[:2]))
            image = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
            mask = sure_subject(image)
        except (OSError, KeyError, SrinError) as error:
            return f"{photo}: {error}"
        target.parent.mkdir(parents=True, exist_ok=True)
        made = b"" if mask is None else cv2.imencode(".png", mask * np.uint8(255), [cv2.IMWRITE_PNG_BILEVEL, 1])[1]
        write_whole(bytes(made), target)
        return mask is not None

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several photos at once use the cores better
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = list(tqdm(pool.map(job, photos), total=len(photos), unit="photo", mininterval=1))
    finally:
        torch.set_num_threads(threads)
    return sum(result is True for result in results), [result for result in results if isinstance(result, str)]


def main() -> None:
    parser = argparse.ArgumentParser(
        "train.find_objects", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path, metavar="PHOTOS")
    parser.add_argument("found", type=Path, metavar="FOUND")
    arguments = parser.parse_args()
    try:
        check_alone()
        check_folder(arguments.found, [arguments.photos], deep=True)
        photos = [photo.image for photo in find_photos(arguments.photos) if not photo.masks]
        if not photos:
            raise ValueError(f"there are no photos without masks in {arguments.photos}, as a manifest.csv lists them")
        count, problems = find(photos, arguments.found)
    except (ValueError, OSError, SrinError) as error:
        sys.exit(f"train.find_objects: {error}")
    print(f"{count} of {len(photos)} photos without masks have an object in {arguments.found}")
    for problem in problems:
        print(problem, file=sys.stderr)


if __name__ == "__main__":
    main()
