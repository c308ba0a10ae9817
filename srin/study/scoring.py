"""Scores from people's pairwise votes with the Bradley-Terry model (the paper's Table 4), and how far people agree.

A score is a method's strength divided by the sum of all strengths, so scores add up to 1, and of two methods the first
wins with the chance score1 / (score1 + score2). Intervals are from resampling raters and items, both at once, with
replacement: votes of one rater, or on one composite, are not independent (A. Owen, "The pigeonhole bootstrap", Annals of
Applied Statistics, 2007).
"""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import choix
import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.special import softmax

from srin.errors import SrinError

COLUMNS = ("rater", "item", "left", "right", "winner")
TIE = "tie"
RESAMPLES = 1000
# A resample in which a method wins all its votes has no finite solution. This little makes it one, and no other changes.
PRIOR = 1e-6


@dataclass(frozen=True)
class Votes:
    """Attributes:
    methods: their names, sorted. winner, loser: int (V,), indices into them.
    weight: (V,), 1, or 0.5 for each of a tie's two halves. rater, item: int (V,), counted from 0.
    """

    methods: list[str]
    winner: np.ndarray
    loser: np.ndarray
    weight: np.ndarray
    rater: np.ndarray
    item: np.ndarray


@dataclass(frozen=True)
class Score:
    """Attributes:
    method: its name. score: 0 to 1, all methods' add up to 1. low, high: 95 % interval.
    votes: how many it took part in. won: the share that it won, ties by half.
    """

    method: str
    score: float
    low: float
    high: float
    votes: int
    won: float


def read_votes(path: Path) -> Votes:
    """Reads a file with a row for every vote and the columns

        rater    who voted        item    which composite was shown
        left     one method       right   the other
        winner   the name of the more harmonious one, or "tie", which is half a vote for each

    Any two results of one item are judged once by a rater.

    Raises:
        SrinError: no such file, a column is missing, no votes, or a line makes no sense or votes again; it is named.
    """
    if not path.is_file():
        raise SrinError(f"There is no file {path}.")
    halves: list[tuple[str, str, float, str, str]] = []  # winner, loser, weight, rater, item
    seen: set[tuple] = set()
    with open(path, newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
        if missing:
            raise SrinError(f"{path} lacks the columns {', '.join(missing)}; it needs {', '.join(COLUMNS)}.")
        for row in reader:
            where = f"Line {reader.line_num} of {path}"
            rater, item, left, right, winner = ((row[name] or "").strip() for name in COLUMNS)
            if not (rater and item and left and right and winner):
                raise SrinError(f"{where} has an empty field.")
            if left == right:
                raise SrinError(f"{where} compares {left} with itself.")
            if winner not in (left, right, TIE):
                raise SrinError(f"{where}: the winner is {winner!r}, neither {left!r} nor {right!r} nor {TIE!r}.")
            vote = (rater, item, frozenset((left, right)))
            if vote in seen:
                raise SrinError(f"{where}: rater {rater} has already compared {left} and {right} on {item}.")
            seen.add(vote)
            if winner == TIE:
                halves += [(left, right, 0.5, rater, item), (right, left, 0.5, rater, item)]
            else:
                halves.append((winner, right if winner == left else left, 1.0, rater, item))
    if not halves:
        raise SrinError(f"{path} holds no votes.")
    winners, losers, weights, raters, items = zip(*halves, strict=True)
    methods = sorted({*winners, *losers})
    place = {name: i for i, name in enumerate(methods)}
    return Votes(
        methods,
        np.array([place[name] for name in winners]),
        np.array([place[name] for name in losers]),
        np.array(weights),
        np.unique(raters, return_inverse=True)[1],
        np.unique(items, return_inverse=True)[1],
    )


def bradley_terry(votes: Votes) -> list[Score]:
    """Maximum-likelihood scores with intervals, best first.

    Raises:
        SrinError: the votes have no solution: some methods were never, directly or through others, beaten by the rest.
    """
    wins = _wins(votes, votes.weight)
    count, part = connected_components(wins, connection="strong")
    if count > 1:
        groups = "; ".join(", ".join(m for m, p in zip(votes.methods, part, strict=True) if p == i) for i in range(count))
        raise SrinError(
            "These votes give no scores yet: every method must have won and lost against the others, directly or through "
            f"a third one. Groups without such a tie: {groups}. Collect more votes."
        )
    strengths = _fit(wins, 0.0, None)
    rng = np.random.default_rng(0)
    drawn = [_fit(_wins(votes, _resampled(votes, rng)), PRIOR, strengths) for _ in range(RESAMPLES)]
    scores = softmax(strengths)
    low, high = np.percentile(softmax(drawn, axis=1), [2.5, 97.5], axis=0)
    played = wins + wins.T
    found = [
        Score(name, scores[i], low[i], high[i], round(played[i].sum()), wins[i].sum() / played[i].sum())
        for i, name in enumerate(votes.methods)
    ]
    return sorted(found, key=lambda s: -s.score)


def _resampled(votes: Votes, rng: np.random.Generator) -> np.ndarray:
    """(V,) weights of the votes after raters and items were each drawn with replacement; never all 0."""
    while True:
        weight = votes.weight
        for labels in (votes.rater, votes.item):
            count = labels.max() + 1
            weight = weight * np.bincount(rng.integers(count, size=count), minlength=count)[labels]
        if weight.any():
            return weight


def _wins(votes: Votes, weight: np.ndarray) -> np.ndarray:
    """(M, M): how often each row's method won against each column's."""
    wins = np.zeros((len(votes.methods), len(votes.methods)))
    np.add.at(wins, (votes.winner, votes.loser), weight)
    return wins


def _fit(wins: np.ndarray, prior: float, start: np.ndarray | None) -> np.ndarray:
    """(M,) logarithms of the strengths."""
    return choix.ilsr_pairwise_dense(wins, alpha=prior, initial_params=start, max_iter=10_000)


def agreement(votes: Votes) -> tuple[float, int]:
    """How often two raters who judged the same two results of the same item chose the same one; ties are left out.

    Returns:
        The share (0.5 where all guess; 2 * share - 1 is Kendall and Babington Smith's coefficient of agreement), and the
        number of such pairs of raters that it is the share of. Without any, the share is not a number.
    """
    chosen = votes.weight == 1
    low, high = np.minimum(votes.winner, votes.loser)[chosen], np.maximum(votes.winner, votes.loser)[chosen]
    questions = zip(votes.item[chosen].tolist(), low.tolist(), high.tolist(), strict=True)
    firsts = (votes.winner[chosen] == low).tolist()
    for_first, for_second = Counter[tuple](), Counter[tuple]()
    for question, first in zip(questions, firsts, strict=True):
        (for_first if first else for_second)[question] += 1
    same = pairs = 0
    for question in {*for_first, *for_second}:
        m, n = for_first[question], for_second[question]
        same += m * (m - 1) // 2 + n * (n - 1) // 2
        pairs += (m + n) * (m + n - 1) // 2
    return (same / pairs if pairs else float("nan")), pairs
