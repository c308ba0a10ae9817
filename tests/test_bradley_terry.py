"""Scores from votes: a textbook example, ties, intervals, and votes that make no sense."""

import csv
import itertools

import numpy as np
import pytest

from srin.errors import SrinError
from srin.study import scoring as module
from srin.study.scoring import agreement, bradley_terry, read_votes
from train.bradley_terry import main

HEADER = ["rater", "item", "left", "right", "winner"]
# Games won in 1987, row against column: A. Agresti, "Categorical Data Analysis", 2nd edition, 2002, Table 10.10.
TEAMS = ["Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore"]
WINS = [
    [0, 7, 9, 7, 7, 9, 11],
    [6, 0, 7, 5, 11, 9, 9],
    [4, 6, 0, 7, 7, 8, 12],
    [6, 8, 6, 0, 6, 7, 10],
    [6, 2, 6, 7, 0, 7, 12],
    [4, 4, 5, 6, 6, 0, 6],
    [2, 4, 1, 3, 1, 7, 0],
]
# Table 10.11: log strengths less Baltimore's.
STRENGTHS = [1.58, 1.44, 1.29, 1.25, 1.11, 0.68, 0.00]


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(module, "RESAMPLES", 200)


def write(path, rows):
    with open(path, "w", newline="") as stream:
        csv.writer(stream).writerows([HEADER, *rows])
    return path


def test_baseball(tmp_path):
    rows = []
    for i, j in itertools.permutations(range(7), 2):
        for _ in range(WINS[i][j]):
            sides = (TEAMS[i], TEAMS[j]) if len(rows) % 2 else (TEAMS[j], TEAMS[i])
            rows.append([f"game {len(rows)}", "season", *sides, TEAMS[i]])
    scores = bradley_terry(read_votes(write(tmp_path / "games.csv", rows)))
    assert [s.method for s in scores] == TEAMS
    assert sum(s.score for s in scores) == pytest.approx(1)
    logs = np.log([s.score for s in scores])
    assert np.round(logs - logs[-1], 2).tolist() == STRENGTHS
    assert [s.votes for s in scores] == [78] * 7
    assert scores[0].won == 50 / 78
    # The book's standard errors are 0.3 against Baltimore; those of a share of the total are smaller.
    for s in scores:
        assert s.low < s.score < s.high
        assert 0.35 < np.log(s.high / s.low) < 1.4


def votes_of(raters, items, chance, rng):
    """Two methods; each rater has a taste of their own, so that more items don't make up for few raters."""
    taste = np.clip(chance + rng.choice([-0.25, 0.25], raters), 0, 1)
    return [
        [f"r{r}", f"i{i}", "a", "b", "a" if rng.random() < taste[r] else "b"] for r in range(raters) for i in range(items)
    ]


def test_intervals_know_that_votes_of_one_rater_hang_together(tmp_path):
    rng = np.random.default_rng(1)

    def width(raters, items):
        best = bradley_terry(read_votes(write(tmp_path / "v.csv", votes_of(raters, items, 0.6, rng))))[0]
        assert best.method == "a" and best.low < best.score < best.high and best.score == pytest.approx(best.won)
        return best.high - best.low

    few, many = width(10, 160), width(40, 40)  # 1600 votes in both
    assert many < 0.75 * few
    assert width(1, 100) > 0.1  # a single rater: over items


def test_ties_are_half_a_vote_for_each(tmp_path):
    rows = [["r", "1", "a", "b", "tie"], ["r", "2", "a", "b", "b"], ["r", "3", "b", "a", "a"], ["r", "4", "a", "b", "b"]]
    b, a = bradley_terry(read_votes(write(tmp_path / "v.csv", rows)))
    assert (b.method, b.score, b.won, b.votes) == ("b", pytest.approx(2.5 / 4), 2.5 / 4, 4)
    assert a.score == pytest.approx(1.5 / 4)


def test_agreement_counts_pairs_of_raters_who_judged_the_same(tmp_path):
    """Two pictures: three raters of whom two agree, and two raters who agree; the third pair has but one rater."""
    rows = [["r", "1", "a", "b", "a"], ["s", "1", "b", "a", "a"], ["t", "1", "a", "b", "b"], ["r", "2", "a", "b", "b"]]
    rows += [["s", "2", "a", "b", "b"], ["t", "2", "a", "b", "tie"], ["r", "1", "a", "c", "c"]]
    assert agreement(read_votes(write(tmp_path / "v.csv", rows))) == (2 / 4, 4)
    share, pairs = agreement(read_votes(write(tmp_path / "v.csv", rows[-1:])))
    assert np.isnan(share) and pairs == 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "holds no votes"),
        ([["r", "1", "a", "a", "a"]], "Line 2 .* compares a with itself"),
        ([["r", "1", "a", "b", "b"], ["r", "2", "a", "b", "left"]], "Line 3 .* winner is 'left', neither 'a' nor 'b'"),
        ([["r", "1", "a", "", "a"]], "Line 2 .* empty field"),
        ([["r", "1", "a"]], "Line 2 .* empty field"),
        ([["r", "1", "a", "b", "a"], ["r", "1", "b", "a", "b"]], "Line 3.*: rater r has already compared b and a on 1"),
    ],
)
def test_bad_votes(tmp_path, rows, message):
    with pytest.raises(SrinError, match=message):
        read_votes(write(tmp_path / "v.csv", rows))


def test_votes_without_a_solution(tmp_path):
    rows = [["r", "1", "a", "b", "a"], ["r", "1", "b", "c", "b"], ["r", "2", "b", "c", "c"]]
    with pytest.raises(SrinError, match="no scores yet.*(a; b, c|b, c; a)"):
        bradley_terry(read_votes(write(tmp_path / "v.csv", rows)))


def test_command_line(tmp_path, capsys):
    rows = [["r", "1", "srin", "bain", "srin"], ["r", "2", "srin", "bain", "bain"], ["q", "1", "srin", "bain", "srin"]]
    main([str(write(tmp_path / "v.csv", rows))])
    ours, published = capsys.readouterr().out.split("## Published")
    assert "3 votes by 2 raters on 2 composites" in ours and "| srin | 0.667 [" in ours
    assert "0.368" not in ours and "| SRIN | 0.368 |" in published
    (tmp_path / "other.csv").write_text("who,winner\n1,a\n")
    for name, message in (("nowhere.csv", "no file"), ("other.csv", "lacks the columns rater, item")):
        with pytest.raises(SystemExit):
            main([str(tmp_path / name)])
        assert message in capsys.readouterr().err
