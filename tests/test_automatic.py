"""The adaptive map, against an oracle that answers from known regions."""

import numpy as np
import pytest

from srin.image_io import load_image, load_labels
from srin.resizing import enlarged_labels
from srin.segmentation.automatic import MAX_POINTS, _without_gaps, adaptive_map, covering
from srin.segmentation.oracle import OracleDecoder


def scene(seed, regions=14, size=(180, 256)):
    """A Voronoi picture: every region in a colour of its own."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, size, (regions, 2))
    rows, columns = np.mgrid[: size[0], : size[1]]
    labels = np.argmin([np.hypot(rows - r, columns - c) for r, c in centres], axis=0)
    return rng.integers(0, 256, (regions, 3)).astype(np.uint8)[labels], labels


class Perfect:
    """Answers a point by its region, three times."""

    def __init__(self, labels):
        self.labels, self.size, self.asked = labels, labels.shape, []

    def decode(self, points):
        height, width = self.size
        self.asked += [tuple(point) for point in points]
        masks = [self.labels == self.labels[int(y * height), int(x * width)] for x, y in points]
        return np.where(np.array(masks)[:, None].repeat(3, 1), 9, -9).astype(np.float32), np.ones((len(points), 3))


@pytest.mark.parametrize("seed", range(3))
def test_a_faultless_decoder_gives_its_regions_back_and_is_asked_little(seed):
    _, labels = scene(seed)
    decoder = Perfect(labels)
    found = adaptive_map(decoder, "perfect")
    assert covering(found.labels, labels) > 0.99
    assert found.decoded_points == len(decoder.asked) == len(set(decoder.asked))
    assert 16 <= found.decoded_points < 70, "it stops once everything is explained"
    assert found.segmenter == "perfect"
    for mask in found.objects:
        assert max((mask & (labels == k)).sum() / (mask | (labels == k)).sum() for k in np.unique(labels)) > 0.9


@pytest.mark.parametrize("seed", range(3))
def test_a_faulty_decoder_is_seen_through(seed):
    """Three granularities, rough edges, noisy scores and one wrong answer in ten."""
    image, labels = scene(seed)
    oracle = OracleDecoder(image, labels, seed)
    found = adaptive_map(oracle, "oracle")
    assert oracle.decoded_points == found.decoded_points <= MAX_POINTS
    assert covering(found.labels, labels) > 0.8
    assert np.array_equal(np.unique(found.labels), np.arange(found.labels.max() + 1))


def test_people_are_matched_on_photos(corpus):
    """On a few photos only; benchmarks/automatic_map.py measures on many."""
    scores = []
    for index, path in enumerate(sorted((corpus / "segments").glob("bsds500*"))[5:400:100]):
        truth = load_labels(path)
        oracle = OracleDecoder(load_image(corpus / "images" / f"{path.stem}.webp"), truth, seed=index)
        scores.append(covering(enlarged_labels(adaptive_map(oracle, "oracle").labels, truth.shape), truth))
    assert np.mean(scores) > 0.8


def test_stopping_comes_through_and_progress_grows():
    class Stopped(Exception):
        pass

    seen = []

    def proceed(done):
        seen.append(done)
        if len(seen) == 3:
            raise Stopped

    with pytest.raises(Stopped):
        adaptive_map(OracleDecoder(*scene(0), seed=0), "oracle", proceed)
    assert seen == sorted(seen) and seen[0] == 0 < seen[1] < 1


def test_the_oracle_is_as_faulty_as_it_says():
    image, labels = scene(1)
    points = np.random.default_rng(0).uniform(0, 1, (300, 2))
    oracle = OracleDecoder(image, labels, seed=3)
    logits, scores = oracle.decode(points)
    again, _ = OracleDecoder(image, labels, seed=3).decode(points[7:8])
    assert np.array_equal(again[0], logits[7]), "an answer depends on its point alone"
    assert logits.shape == (300, 3, 180, 256) and oracle.decoded_points == 300
    right, exact = [], []
    for (x, y), answers in zip(points, logits > 0, strict=True):
        region = labels == labels[int(y * 180), int(x * 256)]
        overlaps = [(answer & region).sum() / (answer | region).sum() for answer in answers]
        right.append(max(overlaps) > 0.7)
        exact.append(max(overlaps))
    assert 0.86 < np.mean(right) < 0.97
    assert 0.85 < np.mean(np.array(exact)[right]) < 0.99, "edges are rough"
    assert 0.04 < np.std(scores - scores.mean()) < 0.2


def test_covering_is_the_published_measure():
    truth = np.array([[0, 0, 0, 1, 1, 1]])
    assert covering(truth, truth) == covering(truth + 5, truth) == 1
    assert covering(np.zeros((1, 6), int), truth) == pytest.approx(0.5)
    # 3 px at 2/3 and 3 px at 3/4
    assert covering(np.array([[0, 0, 1, 1, 1, 1]]), truth) == pytest.approx((2 / 3 + 3 / 4) / 2)
    with_small = np.array([[0, 0, 0, 0, 0, 1]])
    assert covering(np.array([[0, 0, 0, 0, 0, 0]]), with_small) == pytest.approx((5 * 5 / 6 + 1 / 6) / 6)


def test_gaps_join_a_neighbour_or_become_regions():
    labels = np.ones((100, 100), np.int32)
    labels[:, 50:] = 2
    labels[10, 10] = 0
    labels[60:90, 60:90] = 0
    filled = _without_gaps(labels)
    assert filled[10, 10] == filled[0, 0]
    assert len(np.unique(filled)) == 3 and len(np.unique(filled[60:90, 60:90])) == 1
    assert (_without_gaps(np.zeros((20, 20), np.int32)) == 0).all()
