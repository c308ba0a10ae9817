"""Ranks methods by people's pairwise votes with the Bradley-Terry model (the paper's Table 4), ties included.

    python -m train.bradley_terry VOTES.csv

VOTES.csv is the export of a user study, or any file with a row for every vote and the columns

    rater    who voted        item    which composite was shown
    left     one method       right   the other
    winner   the name of the more harmonious one, or "tie" where the rater could not tell

srin/study/scoring.py defines scores and intervals.
"""

import argparse
from pathlib import Path

from srin.errors import SrinError
from srin.study.scoring import Votes, agreement, bradley_terry, read_votes
from train.evaluation.markdown import published, section, table


def report(votes: Votes) -> str:
    """Markdown: a line for every method, best first, and the paper's table under a heading of its own."""
    raters, items = votes.rater.max() + 1, votes.item.max() + 1
    ranking = bradley_terry(votes)
    rows = [
        [s.method, f"{s.score:.3f} [{s.low:.3f}, {s.high:.3f}]", str(s.votes), f"{100 * s.won:.0f} %"]
        for s in ranking.scores
    ]
    title = f"Bradley-Terry scores of {len(votes.tie)} votes by {raters} raters on {items} composites"
    share, pairs = agreement(votes)
    agreed = f"Two raters of one pair agree in {100 * share:.0f} % of {pairs} cases; by chance in 50 %." if pairs else ""
    tied = ""
    if votes.tie.any():
        tied = f"\n\n{votes.tie.sum()} votes are ties; two equal methods tie in {100 * ranking.tie:.0f} % of votes."
    header, *theirs = published("table4_bradley_terry")
    return (
        section(title, ["method", "score [95 % interval]", "votes", "won"], rows)
        + (f"\n\n{agreed}" if agreed else "")
        + tied
        + "\n\n## Published\n\nThe paper's Table 4: other raters, on composites of RealHM.\n\n"
        + table(header, theirs)
        + "\n"
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m train.bradley_terry", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("votes", type=Path, metavar="VOTES.csv")
    options = parser.parse_args(arguments)
    try:
        print(report(read_votes(options.votes)))
    except SrinError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
