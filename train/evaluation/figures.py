"""The report's pictures: parameters against PSNR (the paper's Fig. 1) and a grid of results (its Fig. 3)."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from train.evaluation.methods import Method

CELL = 2.2  # inches of a grid cell's width


def parameters_against_psnr(summary: pd.DataFrame, methods: list[Method], protocol: str) -> Figure | None:
    """A point for every network, with the interval of its PSNR; None if there are no networks."""
    overall = summary[(summary["group"] == "all") & (summary["metric"] == "psnr")].set_index("method")
    networks = [m for m in methods if m.config is not None and m.seed == 0 and m.name in overall.index]
    if not networks:
        return None
    figure = Figure(figsize=(6.5, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for network in networks:
        row = overall.loc[network.name]
        millions = network.parameters / 1e6
        error = [[row["mean"] - row["low"]], [row["high"] - row["mean"]]]
        axes.errorbar(millions, row["mean"], yerr=error, fmt="o", capsize=3)
        axes.annotate(network.name, (millions, row["mean"]), (6, 4), textcoords="offset points", fontsize=9)
    axes.margins(x=0.25)
    axes.set_xlabel("parameters, millions")
    axes.set_ylabel("PSNR, dB")
    axes.set_title(f"{overall['pictures'].iloc[0]} pictures, protocol {protocol}, 95 % intervals", fontsize=10)
    axes.grid(alpha=0.3)
    return figure


def picture_grid(examples: dict[str, dict[str, np.ndarray]]) -> Figure:
    """A row for every picture; columns for composite, mask, each method and the real picture.

    examples: as `train.evaluation.scoring.Scores.examples`, not empty.
    """
    columns = list(next(iter(examples.values())))
    ratios = [max(p.shape[0] / p.shape[1] for p in row.values()) for row in examples.values()]
    figure = Figure(figsize=(CELL * len(columns), CELL * sum(ratios) + 0.4), layout="constrained")
    grid = figure.subplots(len(examples), len(columns), squeeze=False, height_ratios=ratios)
    for axes_row, (name, pictures) in zip(grid, examples.items(), strict=True):
        for axes, column in zip(axes_row, columns, strict=True):
            axes.imshow(pictures[column], cmap="gray", vmin=0, vmax=255)  # the map is for masks alone
            axes.set_xticks([])
            axes.set_yticks([])
        axes_row[0].set_ylabel(name, fontsize=8)
    for axes, column in zip(grid[0], columns, strict=True):
        axes.set_title(column, fontsize=10)
    return figure
