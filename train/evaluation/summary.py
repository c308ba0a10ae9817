"""Means over groups of pictures, with bootstrap intervals, and paired differences between methods."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

METRICS = ("psnr", "mse", "fpsnr", "fmse", "delta_e")
HIGHER_IS_BETTER = {"psnr", "fpsnr"}
RATIOS = {"0-5 %": (0.0, 0.05), "5-15 %": (0.05, 0.15), "15-100 %": (0.15, 1.01)}  # foreground's share, of the paper
RESAMPLES = 2000


def summarize(rows: pd.DataFrame, reference: str) -> pd.DataFrame:
    """One row for every group of pictures, method and metric.

    Args:
        rows: as `train.evaluation.scoring.Scores.rows`.
        reference: the method that every other is compared with, picture by picture.

    Returns:
        Columns group ("all", "subset", "ratio", "rim", "family", "unchanged"), value (which one), pictures, method,
        metric, mean, low, high (95 % interval of the mean), difference (mean of method - reference), difference_low,
        difference_high, better (share of pictures, 0 to 1, where the method beats the reference).
        Pictures that equal their truth are in "unchanged" alone: their copy-paste has no finite PSNR.
    """
    methods = list(dict.fromkeys(rows["method"]))
    sign = np.array([1 if metric in HIGHER_IS_BETTER else -1 for metric in METRICS])
    parts = []
    for group, value, chosen in _groups(rows):
        # (pictures, methods, metrics): rows are ordered by picture, then by method.
        scores = chosen[list(METRICS)].to_numpy(float).reshape(-1, len(methods), len(METRICS))
        with np.errstate(invalid="ignore"):  # inf - inf, where both are perfect
            differences = scores - scores[:, [methods.index(reference)]]
        low, high = intervals(scores)
        difference_low, difference_high = intervals(differences)
        columns = {
            "mean": scores.mean(0),
            "low": low,
            "high": high,
            "difference": differences.mean(0),
            "difference_low": difference_low,
            "difference_high": difference_high,
            "better": (differences * sign > 0).mean(0),
        }
        index = pd.MultiIndex.from_product([[group], [value], [len(scores)], methods, METRICS])
        parts.append(pd.DataFrame({key: array.ravel() for key, array in columns.items()}, index=index))
    return pd.concat(parts).rename_axis(["group", "value", "pictures", "method", "metric"]).reset_index()


def _groups(rows: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    changed, unchanged = rows[rows["changed"]], rows[~rows["changed"]]
    if len(changed):
        yield "all", "all", changed
    for group in ("subset", "rim", "family"):
        for value in dict.fromkeys(changed[group]):
            if value:
                yield group, value, changed[changed[group] == value]
    for value, (low, high) in RATIOS.items():
        chosen = changed[(changed["fg_ratio"] >= low) & (changed["fg_ratio"] < high)]
        if len(chosen):
            yield "ratio", value, chosen
    if len(unchanged):
        yield "unchanged", "unchanged", unchanged


def intervals(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % percentile bootstrap intervals of the mean over the first axis; NaN where there are none."""
    flat = values.reshape(len(values), -1)
    low, high = np.full((2, flat.shape[1]), np.nan)
    finite = np.isfinite(flat).all(0)
    if len(flat) > 1 and finite.any():
        interval = bootstrap(
            (flat[:, finite],), np.mean, axis=0, n_resamples=RESAMPLES, batch=50, method="percentile", rng=0
        ).confidence_interval
        low[finite], high[finite] = interval.low, interval.high
    return low.reshape(values.shape[1:]), high.reshape(values.shape[1:])
