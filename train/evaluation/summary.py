"""Computes means over groups of pictures and paired differences between methods, with intervals over photos and seeds."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from train.evaluation.data import PLAIN

METRICS = ("psnr", "mse", "fpsnr", "fmse", "delta_e", "chroma", "lightness")
HIGHER_IS_BETTER = {"psnr", "fpsnr"}
SIGNED = {"chroma", "lightness"}  # best at zero
RATIOS = {"0-5 %": (0.0, 0.05), "5-15 %": (0.05, 0.15), "15-100 %": (0.15, 1.01)}  # the paper's foreground shares
RESAMPLES = 2000


def summarize(rows: pd.DataFrame, reference: str, stuff: Sequence[str] = ()) -> pd.DataFrame:
    """One row for every group of pictures, method and metric.

    Args:
        rows: as `train.evaluation.scoring.Scores.rows`.
        reference: the method that every other is compared with, picture by picture.
        stuff: sources that the group "objects" leaves out, because many of their masks show stuff, such as sky.

    Returns:
        Columns group ("all", "objects", "class", "plain", "subset", "rim", "family", "chroma", "ratio", "unchanged"),
        value (which one), pictures, series (see `_resampled`), method, metric, mean (over pictures and seeds), low, high
        (95 % interval of the mean), difference (mean of method - reference), difference_low, difference_high, better
        (share of pictures, 0 to 1, where the method, by its mean over seeds, beats the reference). Pictures with
        nothing to harmonize are in "unchanged" alone: their copy-paste has no finite PSNR.
    """
    parts = []
    for group, value, chosen in _groups(rows, stuff):
        methods, scores, means, draws = _resampled(chosen)
        at = methods.index(reference)
        with np.errstate(invalid="ignore"):  # inf - inf, where both are perfect
            better = _badness(scores) < _badness(scores[:, [at]])
            difference, difference_draws = means - means[at], draws - draws[:, [at]]
        columns = {
            "mean": means,
            **dict(zip(("low", "high"), _quantiles(draws), strict=True)),
            "difference": difference,
            **dict(zip(("difference_low", "difference_high"), _quantiles(difference_draws), strict=True)),
            "better": better.mean(0),
        }
        counts = [[len(scores)], [chosen["series"].nunique()]]
        index = pd.MultiIndex.from_product([[group], [value], *counts, methods, METRICS])
        parts.append(pd.DataFrame({key: array.ravel() for key, array in columns.items()}, index=index))
    return pd.concat(parts).rename_axis(["group", "value", "pictures", "series", "method", "metric"]).reset_index()


def compare(rows: pd.DataFrame, methods: Sequence[str], stuff: Sequence[str] = ()) -> pd.DataFrame:
    """Compares every two of some methods, for each group and metric.

    Args:
        rows, stuff: as in `summarize`. methods: with fewer than two, the result is empty.

    Returns:
        Columns group, value, method, other (of the two, the one that comes first in `methods`), metric, difference (mean
        of method - other), low, high (95 % interval), tie (whether zero lies in the interval, or there is no interval).
    """
    columns = ["group", "value", "method", "other", "metric", "difference", "low", "high", "tie"]
    found = []
    for group, value, chosen in _groups(rows, stuff):
        names, _, means, draws = _resampled(chosen)
        for other, method in combinations(methods, 2):
            one, two = names.index(method), names.index(other)
            with np.errstate(invalid="ignore"):
                difference, (low, high) = means[one] - means[two], _quantiles(draws[:, one] - draws[:, two])
            for i, metric in enumerate(METRICS):
                tie = not (low[i] > 0 or high[i] < 0)
                found.append([group, value, method, other, metric, difference[i], low[i], high[i], tie])
    return pd.DataFrame(found, columns=columns)


def _groups(rows: pd.DataFrame, stuff: Sequence[str]) -> Iterator[tuple[str, str, pd.DataFrame]]:
    changed, unchanged = rows[rows["changed"]], rows[~rows["changed"]]
    if len(changed):
        yield "all", "all", changed
        yield from _present(_selections(changed, stuff))
    for group in ("subset", "rim", "family"):
        for value in dict.fromkeys(changed.get(group, ())):
            if value:
                yield group, value, changed[changed[group] == value]
    if len(changed):
        yield from _present(_by_chroma(changed))
    for value, (low, high) in RATIOS.items():
        chosen = changed[(changed["fg_ratio"] >= low) & (changed["fg_ratio"] < high)]
        if len(chosen):
            yield "ratio", value, chosen
    for family in dict.fromkeys(unchanged["family"]):
        yield "unchanged", family or "unchanged", unchanged[unchanged["family"] == family]


def _present(
    groups: Iterator[tuple[str, str, pd.DataFrame]],
) -> Iterator[tuple[str, str, pd.DataFrame]]:
    return ((group, value, chosen) for group, value, chosen in groups if len(chosen))


def _selections(changed: pd.DataFrame, stuff: Sequence[str]) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Groups that depend on the labels and on `stuff`; they may be empty."""
    if stuff and "source" in changed:
        yield "objects", "without stuff", changed[~changed["source"].isin(stuff)]
    if "second_object" in changed:
        yield "class", "no second object", changed[changed["second_object"] == "no"]
        yield "class", "a second object", changed[changed["second_object"] == "yes"]
    plain = changed[changed["family"].isin(PLAIN)]
    if plain["family"].nunique() > 1:
        yield "plain", ", ".join(family for family in PLAIN if (plain["family"] == family).any()), plain


def _by_chroma(changed: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Thirds of the pictures by the real foreground's chroma."""
    chroma = changed["true_chroma"]
    low, high = np.quantile(chroma, [1 / 3, 2 / 3])  # each picture has the same number of rows
    yield "chroma", f"below {low:.1f}", changed[chroma < low]
    yield "chroma", f"{low:.1f} to {high:.1f}", changed[(chroma >= low) & (chroma < high)]
    yield "chroma", f"from {high:.1f}", changed[chroma >= high]


def _badness(scores: np.ndarray) -> np.ndarray:
    """Turns scores, whose last axis is METRICS, into numbers for which lower is better."""
    turned = [-1 if metric in HIGHER_IS_BETTER else 1 for metric in METRICS]
    return np.where([metric in SIGNED for metric in METRICS], abs(scores), scores * turned)


def _resampled(chosen: pd.DataFrame) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Scores of a group, their means, and RESAMPLES means of a bootstrap over photos and seeds.

    Series are drawn with all their pictures, since pictures of one photo, or of one place, are not independent. For
    methods with the same number of seeds, seeds are drawn together, since they are trained on the same data. Every
    method gets the same draws, so that differences of draws are draws of the difference.

    Returns:
        Names of methods; scores (pictures, methods, metrics), means over seeds; means (methods, metrics); draws
        (RESAMPLES, methods, metrics), NaN if scores are not finite or there is only one series.
    """
    # Rows are ordered by picture, and every picture has the same methods and seeds.
    runs = chosen.loc[chosen["id"].eq(chosen["id"].iloc[0]) & chosen["subset"].eq(chosen["subset"].iloc[0]), "method"]
    methods = list(dict.fromkeys(runs))
    values = chosen[list(METRICS)].to_numpy(float).reshape(-1, len(runs), len(METRICS))
    rng = np.random.default_rng(0)
    drawn = _draws_of_means(values, chosen["series"].to_numpy()[:: len(runs)], rng)
    of_seeds: dict[int, np.ndarray] = {}
    scores = np.empty((len(values), len(methods), len(METRICS)))
    draws = np.empty((RESAMPLES, len(methods), len(METRICS)))
    for i, method in enumerate(methods):
        at = np.flatnonzero(runs == method)
        if len(at) not in of_seeds:
            of_seeds[len(at)] = rng.multinomial(len(at), [1 / len(at)] * len(at), RESAMPLES) / len(at)
        scores[:, i] = values[:, at].mean(1)
        draws[:, i] = (drawn[:, at] * of_seeds[len(at)][..., None]).sum(1)
    return methods, scores, scores.mean(0), draws


def _draws_of_means(values: np.ndarray, series: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """RESAMPLES means over the first axis, drawn by series: (RESAMPLES, ...), see `_resampled`."""
    names, member = np.unique(series, return_inverse=True)
    if len(names) < 2:
        return np.full((RESAMPLES, *values.shape[1:]), np.nan)
    weights = rng.multinomial(len(names), [1 / len(names)] * len(names), RESAMPLES)[:, member].astype(float)
    weights /= weights.sum(1, keepdims=True)
    flat = values.reshape(len(values), -1)
    finite = np.isfinite(flat).all(0)
    draws = np.full((RESAMPLES, flat.shape[1]), np.nan)
    draws[:, finite] = weights @ flat[:, finite]
    return draws.reshape(RESAMPLES, *values.shape[1:])


def _quantiles(draws: np.ndarray) -> np.ndarray:
    """The ends of the 95 % interval, (2, ...); NaN where the draws are."""
    return np.quantile(draws, [0.025, 0.975], axis=0)


def intervals(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % percentile bootstrap intervals of the mean over the first axis: low and high, NaN if values are not finite or
    only one."""
    low, high = _quantiles(_draws_of_means(values, np.arange(len(values)), np.random.default_rng(0)))
    return low, high
