"""The study of region maps: the right maps in the right cells. What it finds depends on weights."""

import cv2
import numpy as np

from srin.harmonizer import Harmonizer
from train import map_study
from train.data.photos import Photo


class Recorder(Harmonizer):
    """Harmonizes nothing and notes how many regions each map had."""

    def __init__(self):
        self.seen = []

    def harmonize_composite(self, composite, semantic_map=None, strength=1.0):
        self.seen.append((semantic_map.segmenter, int(semantic_map.labels.max()) + 1))
        return composite.image


def test_every_source_and_granularity_is_scored_on_the_same_composites(tmp_path, monkeypatch):
    monkeypatch.setattr(map_study, "SIZE", 64)
    rng = np.random.default_rng(0)
    segments = rng.permutation(np.arange(1, 17)).reshape(4, 4).repeat(16, 0).repeat(16, 1).astype(np.uint8)
    image = rng.integers(30, 220, (17, 3)).astype(np.uint8)[segments]
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 16:48] = 255
    for name, array in (("image", image), ("mask", mask), ("segments", segments)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), array)
    photo = Photo(tmp_path / "image.png", (tmp_path / "mask.png",), tmp_path / "segments.png")
    harmonizer = Recorder()
    scores = map_study.study([photo], harmonizer)
    assert len({tuple(values) for values in scores.values()}) == 1, "the same composite, and nobody changes it"
    assert np.isfinite(scores["one region", 2][0])
    assert harmonizer.seen[0] == ("one region", 2)
    # Sixteen regions, of which four are the object.
    assert [count for source, count in harmonizer.seen if source == "people"] == [4, 8, 16, 16, 16]
    text = map_study.report(scores)
    assert "| oracle SAM |" in text and "+0.000 ± 0.000" in text
