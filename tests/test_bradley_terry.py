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
    ranking = bradley_terry(read_votes(write(tmp_path / "games.csv", rows)))
    scores = ranking.scores
    assert ranking.tie == 0
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
    """Votes on two methods. Each rater has their own preference, so more items can't make up for few raters."""
    taste = np.clip(chance + rng.choice([-0.25, 0.25], raters), 0, 1)
    return [
        [f"r{r}", f"i{i}", "a", "b", "a" if rng.random() < taste[r] else "b"] for r in range(raters) for i in range(items)
    ]


def test_intervals_know_that_votes_of_one_rater_hang_together(tmp_path):
    rng = np.random.default_rng(1)

    def width(raters, items):
        best = bradley_terry(read_votes(write(tmp_path / "v.csv", votes_of(raters, items, 0.6, rng)))).scores[0]
        assert best.method == "a" and best.low < best.score < best.high and best.score == pytest.approx(best.won)
        return best.high - best.low

    few, many = width(10, 160), width(40, 40)  # 1600 votes in both
    assert many < 0.75 * few
    assert width(1, 100) > 0.1  # with a single rater, items are resampled


# Preferences among six brands of chocolate pudding, two at a time: R. R. Davidson, Journal of the American Statistical
# Association 65, 1970, example 2. Brands, then how often the first was preferred, the second, and neither.
PUDDINGS = [
    (1, 2, 19, 22, 16), (1, 3, 16, 19, 12), (2, 3, 19, 19, 10), (1, 4, 18, 23, 13), (2, 4, 23, 19, 9),
    (3, 4, 19, 20, 15), (1, 5, 13, 19, 18), (2, 5, 16, 20, 12), (3, 5, 16, 15, 17), (4, 5, 17, 14, 16),
    (1, 6, 18, 21, 12), (2, 6, 22, 20, 12), (3, 6, 13, 18, 10), (4, 6, 14, 19, 18), (5, 6, 11, 21, 12),
]  # fmt: skip
# His estimates for brands 1 to 6, and of the parameter of ties.
WORTH = [0.1388, 0.1730, 0.1617, 0.1654, 0.1587, 0.2024]
TIE_PARAMETER = 0.747


def test_puddings_with_ties(tmp_path):
    rows = []
    for first, second, won, lost, tied in PUDDINGS:
        for winner in [str(first)] * won + [str(second)] * lost + ["tie"] * tied:
            rows.append([f"taster {len(rows)}", "meal", str(first), str(second), winner])
    ranking = bradley_terry(read_votes(write(tmp_path / "puddings.csv", rows)))
    found = {score.method: score for score in ranking.scores}
    assert [found[str(brand)].score for brand in range(1, 7)] == pytest.approx(WORTH, abs=6e-5)
    assert 2 * ranking.tie / (1 - ranking.tie) == pytest.approx(TIE_PARAMETER, abs=5e-4)
    # His test finds no difference between brands: their intervals overlap.
    assert min(score.high for score in ranking.scores) > max(score.low for score in ranking.scores)


def test_a_tie_says_that_two_are_alike(tmp_path):
    """For two methods, the model's chances of winning, losing and tying are the shares of the votes."""
    rows = [["r", "1", "a", "b", "tie"], ["r", "2", "a", "b", "b"], ["r", "3", "b", "a", "a"], ["r", "4", "a", "b", "b"]]
    ranking = bradley_terry(read_votes(write(tmp_path / "v.csv", rows)))
    b, a = ranking.scores
    assert (b.method, b.won, b.votes) == ("b", 2.5 / 4, 4) and a.won == 1.5 / 4
    parameter = 2 * ranking.tie / (1 - ranking.tie)
    tie = parameter * np.sqrt(a.score * b.score)
    chances = np.array([b.score, a.score, tie]) / (b.score + a.score + tie)
    assert chances == pytest.approx([2 / 4, 1 / 4, 1 / 4], abs=1e-6)
    more = [["r", str(i), "a", "b", "tie"] for i in range(5, 90)]
    closer = bradley_terry(read_votes(write(tmp_path / "v.csv", rows + more)))
    assert closer.tie > 0.8 and closer.scores[0].low < 0.5 < closer.scores[0].high


def test_agreement_counts_pairs_of_raters_who_judged_the_same(tmp_path):
    """One pair has three raters, of whom two agree; one has two raters who agree; the third has only one rater."""
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
    ties = [["r", str(item), "a", "b", "tie"] for item in range(3)]
    with pytest.raises(SrinError, match="nobody has chosen"):
        bradley_terry(read_votes(write(tmp_path / "v.csv", ties)))
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
