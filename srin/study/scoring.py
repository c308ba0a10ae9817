"""Scores from people's pairwise votes, with ties, and how far people agree.

The model is Bradley-Terry's with Davidson's ties (R. R. Davidson, "On extending the Bradley-Terry model to accommodate
ties in paired comparison experiments", Journal of the American Statistical Association 65, 1970): of two methods with
strengths p and q, the first wins with chance p / d, the second with q / d, and they tie with n sqrt(p q) / d, where
d = p + q + n sqrt(p q). Without ties n is 0, and it is the plain model (the paper's Table 4).

A score is a method's strength divided by the sum of all strengths, so scores add up to 1. When one of two methods is
chosen, it is the first with probability score1 / (score1 + score2). Intervals come from resampling raters and items, both
at once, with replacement, because votes of one rater, or on one composite, are not independent (A. Owen, "The pigeonhole
bootstrap", Annals of Applied Statistics, 2007).
"""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.sparse.csgraph import connected_components
from scipy.special import softmax

from srin.errors import SrinError

COLUMNS = ("rater", "item", "left", "right", "winner")
TIE = "tie"
RESAMPLES = 1000
# Votes added to each pair in a resample: without them, a method that wins all its votes has no finite strength.
PRIOR = 1e-6


@dataclass(frozen=True)
class Votes:
    """V votes.

    Attributes:
        methods: their names, sorted. winner, loser: int (V,), indices into them; for a tie, the two methods.
        tie: bool (V,), whether the rater could not tell. rater, item: int (V,), counted from 0.
    """

    methods: list[str]
    winner: np.ndarray
    loser: np.ndarray
    tie: np.ndarray
    rater: np.ndarray
    item: np.ndarray


@dataclass(frozen=True)
class Score:
    """One method's score.

    Attributes:
        method: its name. score: 0 to 1; the scores of all methods add up to 1. low, high: 95 % interval.
        votes: how many it took part in. won: the share of these that it won; a tie counts half.
    """

    method: str
    score: float
    low: float
    high: float
    votes: int
    won: float


@dataclass(frozen=True)
class Ranking:
    """The scores of all methods.

    Attributes:
        scores: best first. tie: 0 to 1, how often two methods of equal strength tie: n / (2 + n).
    """

    scores: list[Score]
    tie: float


def read_votes(path: Path) -> Votes:
    """Reads a file with a row for every vote and the columns

        rater    who voted        item    which composite was shown
        left     one method       right   the other
        winner   the name of the more harmonious one, or "tie" where the rater could not tell

    A rater may judge any two results of one item once.

    Raises:
        SrinError: no such file, a missing column, no votes, or a line that is invalid or repeats a vote; it is named.
    """
    if not path.is_file():
        raise SrinError(f"There is no file {path}.")
    votes: list[tuple[str, str, bool, str, str]] = []  # winner, loser, tie, rater, item
    seen: set[tuple[object, ...]] = set()
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
            first, second = (right, left) if winner == right else (left, right)
            votes.append((first, second, winner == TIE, rater, item))
    if not votes:
        raise SrinError(f"{path} holds no votes.")
    winners, losers, ties, raters, items = zip(*votes, strict=True)
    methods = sorted({*winners, *losers})
    place = {name: i for i, name in enumerate(methods)}
    return Votes(
        methods,
        np.array([place[name] for name in winners]),
        np.array([place[name] for name in losers]),
        np.array(ties),
        np.unique(raters, return_inverse=True)[1],
        np.unique(items, return_inverse=True)[1],
    )


def bradley_terry(votes: Votes) -> Ranking:
    """Maximum-likelihood scores with intervals.

    Raises:
        SrinError: the votes have no solution: all are ties, or the methods fall into groups, one of which never lost to
            or tied with the others.
    """
    wins, ties = _counts(votes, np.ones(len(votes.winner)))
    if not wins.any():
        raise SrinError("These votes give no scores yet: nobody has chosen one of two pictures. Collect more votes.")
    count, part = connected_components(wins + ties, connection="strong")
    if count > 1:
        groups = "; ".join(", ".join(m for m, p in zip(votes.methods, part, strict=True) if p == i) for i in range(count))
        raise SrinError(
            "These votes give no scores yet: every method must have won and lost against the others, directly or through "
            f"a third one. Groups without such a tie: {groups}. Collect more votes."
        )
    strengths, tie = _fit(wins, ties)
    others = PRIOR * (1 - np.eye(len(wins)))
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES):
        wins_again, ties_again = _counts(votes, _resampled(votes, rng))
        some = others if votes.tie.any() else 0.0
        drawn.append(_fit(wins_again + others, ties_again + some, strengths)[0])
    scores = softmax(strengths)
    low, high = np.percentile(softmax(drawn, axis=1), [2.5, 97.5], axis=0)
    half = wins + ties / 2
    played = half + half.T
    found = [
        Score(name, scores[i], low[i], high[i], round(played[i].sum()), half[i].sum() / played[i].sum())
        for i, name in enumerate(votes.methods)
    ]
    return Ranking(sorted(found, key=lambda s: -s.score), tie)


def _resampled(votes: Votes, rng: np.random.Generator) -> np.ndarray:
    """Weights (V,) of the votes when raters and items are each drawn with replacement; never all 0."""
    while True:
        weight = np.ones(len(votes.winner))
        for labels in (votes.rater, votes.item):
            count = labels.max() + 1
            weight = weight * np.bincount(rng.integers(count, size=count), minlength=count)[labels]
        if weight.any():
            return weight


def _counts(votes: Votes, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays (M, M): how often each row's method won against each column's, and how often they tied (symmetric)."""
    wins, ties = np.zeros((2, len(votes.methods), len(votes.methods)))
    np.add.at(wins, (votes.winner, votes.loser), weight * ~votes.tie)
    np.add.at(ties, (votes.winner, votes.loser), weight * votes.tie)
    return wins, ties + ties.T


def _fit(wins: np.ndarray, ties: np.ndarray, start: np.ndarray | None = None) -> tuple[np.ndarray, float]:
    """The logarithms of the strengths (M,), and how often methods of equal strength tie. wins, ties: see `_counts`.

    With x the logarithms of the strengths and t that of n / 2, the probabilities of the outcomes are proportional to
    e^x_i, e^x_j and 2 e^((x_i + x_j) / 2 + t). So the log-likelihood is concave, and its gradient is the counted minus
    the expected outcomes.
    """
    count = len(wins)
    rows, columns = np.triu_indices(count, 1)
    counted = np.stack([wins[rows, columns], wins[columns, rows], ties[rows, columns]])
    # The exponents' coefficients for each outcome of each pair: (outcomes, pairs, parameters).
    features = np.zeros((3, len(rows), count + 1))
    pairs = np.arange(len(rows))
    features[0, pairs, rows] = features[1, pairs, columns] = 1
    features[2, pairs, rows] = features[2, pairs, columns] = 0.5
    features[2, :, count] = 1
    outcomes, free = (3, count + 1) if ties.any() else (2, count)
    counted = counted[:outcomes]
    # The first strength is held at 1: only ratios matter.
    features = features[:outcomes, :, 1:free]
    base = np.log([1, 1, 2])[:outcomes, None]
    total = counted.sum(0)

    def chances(at: np.ndarray) -> np.ndarray:
        return softmax(features @ at + base, axis=0)

    def loss(at: np.ndarray) -> float:
        return -float((counted * np.log(chances(at).clip(1e-300))).sum())

    def slope(at: np.ndarray) -> np.ndarray:
        return np.einsum("op,opf->f", total * chances(at) - counted, features)

    def curvature(at: np.ndarray) -> np.ndarray:
        chance = chances(at)
        spread = features - np.einsum("op,opf->pf", chance, features)
        return np.einsum("op,opf,opg->fg", total * chance, spread, spread)

    first = np.zeros(features.shape[2])
    if start is not None:
        first[: count - 1] = start[1:] - start[0]
    found = minimize(loss, first, jac=slope, hess=curvature, method="trust-exact", options={"gtol": 1e-8}).x
    tie = 1 / (1 + np.exp(-found[-1])) if outcomes == 3 else 0.0
    return np.concatenate([[0.0], found[: count - 1]]), float(tie)


def agreement(votes: Votes) -> tuple[float, int]:
    """How often two raters who judged the same two results of the same item chose the same one; ties are left out.

    Returns:
        The share (0.5 if all guess; 2 * share - 1 is Kendall and Babington Smith's coefficient of agreement), and the
        number of such pairs of votes. Without any, the share is NaN.
    """
    chosen = ~votes.tie
    low, high = np.minimum(votes.winner, votes.loser)[chosen], np.maximum(votes.winner, votes.loser)[chosen]
    questions = zip(votes.item[chosen].tolist(), low.tolist(), high.tolist(), strict=True)
    firsts = (votes.winner[chosen] == low).tolist()
    for_first, for_second = Counter[tuple[int, int, int]](), Counter[tuple[int, int, int]]()
    for question, first in zip(questions, firsts, strict=True):
        (for_first if first else for_second)[question] += 1
    same = pairs = 0
    for question in {*for_first, *for_second}:
        m, n = for_first[question], for_second[question]
        same += m * (m - 1) // 2 + n * (n - 1) // 2
        pairs += (m + n) * (m + n - 1) // 2
    return (same / pairs if pairs else float("nan")), pairs
