"""The page of a user study: two results to choose from; for its owner, the scores."""

import html
import logging
import secrets
from pathlib import Path
from random import Random
from typing import Any

import gradio as gr
from tqdm import tqdm

from srin.errors import ImageError, SrinError
from srin.image_io import load_image
from srin.study.results import Results, read_results
from srin.study.scoring import Ranking, Votes, agreement, bradley_terry, read_votes
from srin.study.storage import Answer, Storage
from srin.ui.answering.requests import UNEXPECTED, data_of, text
from srin.ui.page.component import Page, component
from srin.ui.session.previews import shown, shrink
from srin.ui.session.uploads import KEPT, new_file
from srin.untrusted import number

PAGE = Page("study/main.js", ("study",))
TITLE = "Which picture is more harmonious?"
VOTES = "votes.sqlite3"
SIDE = 1920  # pixels of the longer side of what raters see: a screen's
ANSWERS: dict[str, Answer] = {"left": "left", "right": "right", "tie": "tie"}
READING = """Where one of two methods is chosen, it is the first with the chance score 1 / (score 1 + score 2). The
interval says how far a score depends on who voted and on which composites: had others of the same kind been drawn, it
would have come out in there 95 times of 100. Where two intervals overlap by much, this study does not say which method is
better. Won counts "can't tell" as half."""
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": 8}


class Study:
    """A study that is being served.

    Args:
        folder: see `read_results`; the votes are kept in it too. All pictures are read first, to find broken ones.

    Raises:
        SrinError: the folder is no study, a picture can't be read, results of one item differ in size, or no votes can
            be written there.
    """

    def __init__(self, folder: Path) -> None:
        self.results = read_results(folder)
        self.storage = Storage(folder / VOTES)
        self.addresses = _addresses(self.results)
        self._random = Random(secrets.randbits(64))

    def begin(self, event: gr.EventData) -> dict[str, Any]:
        """The pair that is next for a rater, who may be a new one."""
        data = data_of(event)
        return self._answered(text(data, "rater") or Storage.new_rater())

    def vote(self, event: gr.EventData) -> dict[str, Any]:
        """Keeps an answer, unless it was counted before. Returns the next pair."""
        data = data_of(event)
        answer = ANSWERS.get(text(data, "answer"))
        try:
            if answer is None:
                raise SrinError("Choose one of the two pictures, or that you can't tell.")
            self.storage.vote(text(data, "rater"), int(number(data, "number", 0, 1e9, -1)), answer)
        except SrinError as error:
            return _problem(str(error))
        return self._answered(text(data, "rater"))

    def take_back(self, event: gr.EventData) -> dict[str, Any]:
        """Takes a rater's last answer back, and shows its pair again."""
        data = data_of(event)
        try:
            self.storage.take_back(text(data, "rater"), int(number(data, "number", 0, 1e9, -1)))
        except SrinError as error:
            return _problem(str(error))
        return self._answered(text(data, "rater"))

    def _answered(self, rater: str) -> dict[str, Any]:
        try:
            count, pair = self.storage.offer(rater, self.results, self._random)
        except SrinError as error:
            return _problem(str(error))
        except Exception:
            logging.getLogger(__name__).exception("no pair can be offered")
            return _problem(UNEXPECTED)
        view: dict[str, Any] = {"rater": rater, "number": count, "total": self.results.questions, "pictures": None}
        if pair is not None:
            view["pictures"] = [self.addresses[method, pair.item] for method in (pair.left, pair.right)]
        return gr.update(ballot=view)

    def report(self, request: gr.Request) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Updates of the ballot, the scores and the download for whoever has the key; for others nothing changes."""
        given = request.query_params.get("results", "")
        if not secrets.compare_digest(given.encode(), self.storage.key.encode()):
            return gr.skip(), gr.skip(), gr.skip()
        path = new_file("votes.csv")
        try:
            self.storage.export(path)
            votes = read_votes(path)
            ranking = bradley_terry(votes)
            said = _scores(ranking) + _counts(votes, ranking, self.results)
        except SrinError as error:
            said = f'<p class="note">{html.escape(str(error))}</p>'
        card = f'<section class="card">{said}</section>'
        return gr.update(visible=False), gr.update(value=card), gr.update(value=str(path), visible=True)


def build(folder: Path) -> gr.Blocks:
    """Builds the page of the study in a folder, and prints where its results are. Raises SrinError, see Study."""
    study = Study(folder)
    with gr.Blocks(title=TITLE, analytics_enabled=False) as demo:
        ballot = component("study", ("begin", "vote", "takeback"), {"ballot": None}, PAGE)
        scores = gr.HTML(elem_id="scores")
        download = gr.DownloadButton("Votes as CSV", visible=False, elem_id="votes")
        ballot.begin(study.begin, None, ballot, trigger_mode="once", **QUIET)
        ballot.vote(study.vote, None, ballot, trigger_mode="once", **QUIET)
        ballot.takeback(study.take_back, None, ballot, trigger_mode="once", **QUIET)
        demo.load(study.report, None, [ballot, scores, download], **QUIET)
    methods, items = len(study.results.methods), len(study.results.items)
    print(f"{methods} methods, {items} composites, {study.results.questions} pairs. Votes are kept in {folder / VOTES}.")
    print(f"Results, for you alone: the address below with /?results={study.storage.key}")
    return demo


def _addresses(results: Results) -> dict[tuple[str, str], str]:
    """Where the browser finds each picture: by its content, so that the address doesn't tell the method."""
    addresses: dict[tuple[str, str], str] = {}
    for item in tqdm(results.items, unit="composite", desc="Reading"):
        sizes = {}
        for method in results.methods:
            image = load_image(results.pictures[method, item], f"result of {method}")
            sizes[method] = f"{image.shape[1]} x {image.shape[0]}"
            addresses[method, item] = shown(shrink(image, SIDE), KEPT)
        if len(set(sizes.values())) > 1:
            listed = ", ".join(f"{method} {size}" for method, size in sizes.items())
            raise ImageError(f"The results of {item} differ in size, which would give them away: {listed}.")
    return addresses


def _problem(said: str) -> dict[str, Any]:
    return gr.update(ballot={"problem": said})


def _scores(ranking: Ranking) -> str:
    """HTML: a table of the methods, best first, and how to read it."""
    rows = []
    for score in ranking.scores:
        low, middle, high = (f"{100 * share:.1f}%" for share in (score.low, score.score, score.high))
        bar = f'<i class="bar" style="--low: {low}; --score: {middle}; --high: {high}"></i>'
        interval = f"{score.score:.3f} <small>{score.low:.3f} to {score.high:.3f}</small>"
        cells = (html.escape(score.method), interval, bar, f"{score.votes}", f"{100 * score.won:.0f} %")
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    heads = ("Method", "Score, 95 % interval", "", "Votes", "Won")
    header = "".join(f"<th>{head}</th>" for head in heads)
    table = f"<table><thead><tr>{header}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f"<h2>Bradley-Terry scores</h2>{table}<p>{READING}</p>"


def _counts(votes: Votes, ranking: Ranking, results: Results) -> str:
    """HTML: how many voted, how often they could not tell, and how far they agree."""
    raters, count, ties = votes.rater.max() + 1, len(votes.tie), int(votes.tie.sum())
    share, pairs = agreement(votes)
    agreed = "No two raters have chosen from one pair yet, so their agreement is unknown."
    if pairs:
        agreed = f"Two raters who chose from one pair agree in {100 * share:.0f} % of {pairs} cases; by chance in 50 %."
    tied = "Nobody answered that they can't tell."
    if ties:
        tied = (
            f"In {ties} of them the rater could not tell; by the model, two equally good methods would get "
            f"that answer in {100 * ranking.tie:.0f} % of votes."
        )
    said = f"{count} votes by {raters} raters on {results.questions} pairs. {tied} {agreed}"
    return f'<p class="note">{said}</p>'
