"""The user study: balanced and blind, a vote counted once whatever happens, resumable, and scored as the paper does."""

import multiprocessing
import re
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import cv2
import numpy as np
import pytest
from conftest import PATIENCE, ROOT, running_app

from srin.errors import OutputError, SrinError
from srin.study.pairing import Pair, next_pair
from srin.study.results import Results, read_results
from srin.study.scoring import bradley_terry, read_votes
from srin.study.storage import Storage

METHODS = ["bain", "copy-paste", "rain", "srin"]
ITEMS = [f"photo {i}" for i in range(7)]
QUESTIONS = 7 * 6
RESULTS = Results(METHODS, ITEMS, {(method, item): Path(item) for method in METHODS for item in ITEMS})


def judge(storage, rater, random, times=10**6):
    """A rater who chooses at random, until all or so many pairs are judged. Returns the pairs."""
    pairs = []
    for _ in range(times):
        number, pair = storage.offer(rater, RESULTS, random)
        if pair is None:
            break
        pairs.append(pair)
        assert storage.vote(rater, number, random.choice(["left", "right"]))
    return pairs


@pytest.fixture
def storage(tmp_path):
    return Storage(tmp_path / "votes.sqlite3")


def test_pairs_sides_and_raters_are_balanced():
    """Raters come and go, yet pairs are judged equally often, sides are balanced, and no item comes twice in a row."""
    random, shown, own = Random(1), [], {}
    for _ in range(20 * QUESTIONS):
        rater = random.randrange(30)
        pair = next_pair(METHODS, ITEMS, shown, own.setdefault(rater, []), random)
        assert pair.question not in {seen.question for seen in own[rater]}
        shown.append(pair)
        own[rater].append(pair)
    counts = Counter(pair.question for pair in shown)
    # Counts differ by one, and by one more if all raters who come have judged the rarest pair already.
    assert len(counts) == QUESTIONS and max(counts.values()) - min(counts.values()) <= 2
    sides = Counter((pair.left, pair.right) for pair in shown)
    for (left, right), count in sides.items():
        assert abs(count - sides[right, left]) <= 30
    for pairs in own.values():
        sides = Counter((pair.left, pair.right) for pair in pairs)
        assert all(abs(count - sides[right, left]) <= 1 for (left, right), count in sides.items())
        repeats = sum(a.item == b.item for a, b in zip(pairs, pairs[1:], strict=False))
        assert repeats <= 2
    first = {tuple(pairs[:3]) for pairs in own.values()}
    assert len(first) > 20, "raters don't all see the same order"


def test_a_rater_judges_everything_once_and_then_no_more():
    random, own = Random(2), []
    while (pair := next_pair(METHODS, ITEMS, own, own, random)) is not None:
        own.append(pair)
    assert len({pair.question for pair in own}) == len(own) == QUESTIONS
    assert next_pair(["one"], ITEMS, [], [], random) is None


def test_what_is_on_offer_stays_on_offer_and_work_goes_on_after_a_restart(storage, tmp_path):
    rater = storage.new_rater()
    judge(storage, rater, Random(3), 5)
    offered = storage.offer(rater, RESULTS, Random(4))
    again = Storage(tmp_path / "votes.sqlite3")
    assert again.offer(rater, RESULTS, Random(5)) == offered == storage.offer(rater, RESULTS, Random(6))
    assert offered[0] == 5 and again.key == storage.key
    assert len(judge(again, rater, Random(7))) == QUESTIONS - 5
    assert again.offer(rater, RESULTS, Random(8)) == (QUESTIONS, None)


def test_a_vote_is_counted_once(storage, tmp_path):
    rater = storage.new_rater()
    number, pair = storage.offer(rater, RESULTS, Random(0))
    assert storage.vote(rater, number, "right")
    assert not storage.vote(rater, number, "right") and not storage.vote(rater, number, "left")
    assert not storage.vote(rater, number + 1, "left"), "before the next pair was shown"
    storage.offer(rater, RESULTS, Random(0))
    assert not storage.vote(rater, number, "left"), "of a window that was left behind"
    assert storage.rows() == [(rater, pair.item, pair.left, pair.right, pair.right)]
    # Also without the program: the database itself refuses the same pair, the other way round.
    with sqlite3.connect(tmp_path / "votes.sqlite3") as connection:
        for row in (
            (rater, pair.item, pair.right, pair.left, pair.left),
            (rater, "b", "x", "y", "z"),
            (rater, "b", "x", "x", "x"),
        ):
            with pytest.raises(sqlite3.IntegrityError):
                connection.execute("INSERT INTO votes VALUES (?, ?, ?, ?, ?)", row)


def test_the_last_answer_can_be_taken_back(storage):
    """Each press takes one back and shows its pair again as before. Others' votes and the counts stay right."""
    rater, other = storage.new_rater(), storage.new_rater()
    judge(storage, other, Random(1), 3)
    pairs = judge(storage, rater, Random(0), 4)
    before = storage.rows()
    assert storage.take_back(rater, 4) and not storage.take_back(rater, 4), "a press that was sent twice"
    assert storage.rows() == before[:-1]
    assert storage.offer(rater, RESULTS, Random(5)) == (3, pairs[-1])
    assert storage.vote(rater, 3, "tie")
    assert storage.rows()[-1] == (rater, pairs[-1].item, pairs[-1].left, pairs[-1].right, "tie")
    for number in (4, 3, 2, 1):
        assert storage.take_back(rater, number)
    assert not storage.take_back(rater, 0) and storage.rows() == before[:3]
    assert storage.offer(rater, RESULTS, Random(5)) == (0, pairs[0])


def test_votes_of_a_file_from_before_ties_stay(tmp_path):
    """As version 0.5 made it: its rows are kept in their order, and ties can be added."""
    path = tmp_path / "votes.sqlite3"
    rows = [("0123456789abcdef", f"photo {i}", "bain", "srin", ("bain", "srin")[i % 2]) for i in range(5)]
    with sqlite3.connect(path) as connection:
        connection.execute(
            'CREATE TABLE votes (rater TEXT NOT NULL, item TEXT NOT NULL, "left" TEXT NOT NULL, "right" TEXT NOT NULL, '
            'winner TEXT NOT NULL, CHECK ("left" <> "right" AND winner IN ("left", "right")))'
        )
        connection.execute('CREATE UNIQUE INDEX once ON votes (rater, item, min("left", "right"), max("left", "right"))')
        connection.executemany("INSERT INTO votes VALUES (?, ?, ?, ?, ?)", rows)
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute("INSERT INTO votes VALUES ('0123456789abcdef', 'x', 'bain', 'srin', 'tie')")
    for _ in range(2):
        storage = Storage(path)
        assert storage.rows()[:5] == rows
    number, _ = storage.offer(rows[0][0], RESULTS, Random(0))
    assert number == 5 and storage.vote(rows[0][0], 5, "tie") and storage.rows()[5][4] == "tie"
    with sqlite3.connect(path) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute("INSERT INTO votes VALUES (?, ?, ?, ?, ?)", rows[0])


def test_raters_have_no_names(storage):
    for rater in ("", "Anna", "0123456789ABCDEF", "0" * 15, "0" * 17, "0" * 16 + "\n", "'; DROP TABLE votes; --"):
        with pytest.raises(SrinError, match="no rater's number"):
            storage.offer(rater, RESULTS, Random(0))
    assert storage.rows() == []


def _rater(path, seed):
    storage = Storage(path)
    judge(storage, storage.new_rater(), Random(seed))


def test_eight_raters_at_once_lose_nothing_and_stay_balanced(tmp_path):
    """Processes of their own, each with its own connection to the file."""
    path = tmp_path / "votes.sqlite3"
    context = multiprocessing.get_context("fork")
    raters = [context.Process(target=_rater, args=(path, seed)) for seed in range(8)]
    for rater in raters:
        rater.start()
    for rater in raters:
        rater.join(120)
    assert [rater.exitcode for rater in raters] == [0] * 8
    rows = Storage(path).rows()
    counts = Counter(Pair(*row[1:4]).question for row in rows)
    assert len(rows) == 8 * QUESTIONS and set(counts.values()) == {8}
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_rater_who_is_killed_leaves_whole_votes(tmp_path):
    """kill -9 in the middle of voting, several times: what was confirmed is there, and nothing half-written."""
    path = tmp_path / "votes.sqlite3"
    program = """
import sys
from pathlib import Path
from random import Random
sys.path.insert(0, "tests")
from test_study import RESULTS, Storage
storage, random = Storage(Path(sys.argv[1])), Random(0)
while True:
    rater = storage.new_rater()
    for _ in range(40):
        number, pair = storage.offer(rater, RESULTS, random)
        storage.vote(rater, number, "left")
        print(rater, pair.item, pair.left, pair.right, sep=",", flush=True)
"""
    confirmed = []
    for turn in range(2):
        process = subprocess.Popen([sys.executable, "-c", program, path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        confirmed += [process.stdout.readline() for _ in range(20 + 3 * turn)]
        process.send_signal(signal.SIGKILL)
        confirmed += process.communicate()[0].splitlines(keepends=True)
    storage = Storage(path)
    rows = storage.rows()
    kept = {",".join(row[:4]) for row in rows}
    assert {line.strip() for line in confirmed if line.endswith("\n")} <= kept and len(kept) == len(rows)
    assert all(all(row) and row[4] == row[2] for row in rows)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    storage.export(tmp_path / "votes.csv")
    assert len(read_votes(tmp_path / "votes.csv").winner) == len(rows)


def test_votes_come_back_from_the_csv_as_they_were_cast(storage, tmp_path):
    """Raters who always prefer the later name: the scores' order, and every count."""
    random = Random(9)
    names = {"quotes": 'a "b", c', "plain": "srin", "umlaut": "Übel"}
    results = Results(
        sorted(names.values()), ITEMS, {(name, item): Path("x") for name in names.values() for item in ITEMS}
    )
    for _ in range(6):
        rater = storage.new_rater()
        while (offered := storage.offer(rater, results, random))[1] is not None:
            number, pair = offered
            better = "left" if pair.left > pair.right else "right"
            storage.vote(rater, number, better if random.random() < 0.8 else {"left": "right", "right": "left"}[better])
    storage.export(tmp_path / "votes.csv")
    votes = read_votes(tmp_path / "votes.csv")
    assert votes.methods == results.methods and len(votes.winner) == 6 * 7 * 3
    wins = Counter(votes.methods[winner] for winner in votes.winner)
    assert wins == Counter(row[4] for row in storage.rows())
    assert [score.method for score in bradley_terry(votes).scores] == sorted(names.values(), reverse=True)


def test_votes_that_can_not_be_written_are_said(tmp_path, storage, monkeypatch):
    with pytest.raises(OutputError, match="can't be read or written"):
        Storage(tmp_path / "nowhere" / "votes.sqlite3")
    (tmp_path / "text.sqlite3").write_text("This is no database, however long it is. " * 50)
    with pytest.raises(OutputError, match="not a database"):
        Storage(tmp_path / "text.sqlite3")
    rater = storage.new_rater()
    number, _ = storage.offer(rater, RESULTS, Random(0))
    with sqlite3.connect(tmp_path / "votes.sqlite3") as connection:  # a database that may not grow, as on a full disk
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connect = sqlite3.connect

    def full(*arguments, **options):
        connection = connect(*arguments, **options)
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    monkeypatch.setattr(sqlite3, "connect", full)
    counted = 0
    with pytest.raises(OutputError, match="disk is full"):
        for _ in range(200):
            for _ in judge(storage, storage.new_rater(), Random(0)):
                counted += 1
    monkeypatch.undo()
    assert len(storage.rows()) >= counted and storage.vote(rater, number, "left")


def write_results(folder, sizes=None, items=2):
    for m, method in enumerate(METHODS):
        (folder / method).mkdir(parents=True)
        for i, item in enumerate(ITEMS[:items]):
            picture = np.full((60, 80, 3), 40 * m + 10 * i, np.uint8)
            cv2.imwrite(str(folder / method / f"{item}.png"), picture[: (sizes or {}).get(method, 60)])
    return folder


def test_folders_that_are_no_study_are_explained(tmp_path):
    from srin.ui.study.study import Study

    good = write_results(tmp_path / "good")
    (good / "notes.txt").write_text("beside the results")
    assert read_results(good).questions == 2 * 6 and read_results(good).methods == METHODS
    (tmp_path / "one" / "srin").mkdir(parents=True)
    for folder, words in ((tmp_path / "none", "no folder"), (tmp_path / "one", "two methods at least")):
        with pytest.raises(SrinError, match=words):
            Study(folder)
    (good / "srin" / "photo 1.png").unlink()
    with pytest.raises(SrinError, match="lacks srin/photo 1"):
        Study(good)
    (good / "srin" / "photo 1.png").write_bytes(b"no picture")
    with pytest.raises(SrinError, match=r"result of srin \(photo 1.png\) is not an image"):
        Study(good)
    with pytest.raises(SrinError, match="differ in size.*bain 80 x 60.*rain 80 x 50"):
        Study(write_results(tmp_path / "sizes", {"rain": 50}))


@pytest.fixture
def study(tmp_path):
    """A study as its owner starts it: its address, and the address of its results."""
    folder = write_results(tmp_path / "study", items=1)
    with running_app(tmp_path, "--study", folder, PYTHONUNBUFFERED="1") as address:
        key = re.search(r"/\?results=(\S+)", (tmp_path / "log").read_text())[1]
        yield address, f"{address}/?results={key}", folder


@pytest.mark.slow
@pytest.mark.browser
def test_on_a_phone_from_the_first_pair_to_the_scores(study, browser, tmp_path):
    """Taps, keys, one taken back; a reload in between; results are closed without the key; the CSV is what was chosen."""
    address, results_address, folder = study
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, accept_downloads=True)
    wrong = []
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: request.url.startswith((address, "data:", "blob:")) or wrong.append(request.url))
    page.goto(address)

    def judged(count):
        page.locator(".study-count", has_text=f"{count} of 6 pairs judged").wait_for()

    def choose(count, how):
        judged(count)
        page.locator(".study-pair:not(.chosen):visible").wait_for()
        how()
        judged(count + 1)

    choose(0, page.locator('[data-answer="left"]').tap)
    choose(1, page.locator('[data-answer="tie"]').tap)
    page.locator(".study-pair:not(.chosen):visible").wait_for()
    page.locator('[data-act="undo"]').tap()
    judged(1)
    choose(1, lambda: page.keyboard.press("ArrowDown"))
    page.locator(".study-pair:not(.chosen):visible").wait_for()
    page.keyboard.press("Backspace")
    choose(1, lambda: page.keyboard.press("ArrowRight"))
    page.locator(".study-pair:not(.chosen):visible").wait_for()
    before = page.locator(".study-pair img").evaluate_all("pictures => pictures.map((picture) => picture.src)")
    names = [source.rpartition("/kept/")[2] for source in before]
    assert all(names) and not any(method in name for method in METHODS for name in names), "the addresses are blind"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    boxes = [box.bounding_box() for box in page.locator(".study-pair [data-answer]").all()]
    assert boxes[1]["y"] + boxes[1]["height"] <= 844, "both are in view, without scrolling"
    assert all(box["width"] > 300 and box["height"] > 100 for box in boxes)
    page.reload()
    judged(2)
    page.locator(".study-pair:visible").wait_for()
    assert page.locator(".study-pair img").evaluate_all("pictures => pictures.map((picture) => picture.src)") == before
    # One picture fills the window, then the other takes its place. The one that is shown can be chosen.
    page.keyboard.press(" ")
    shown = page.locator(".study-large img:visible")
    assert shown.get_attribute("src") == before[0]
    page.keyboard.press(" ")
    assert shown.get_attribute("src") == before[1]
    assert shown.bounding_box()["width"] == 390
    choose(2, page.locator('[data-act="choose-shown"]').tap)
    choose(3, lambda: page.keyboard.press("ArrowDown"))
    for count in range(4, 6):
        choose(count, lambda: page.keyboard.press("ArrowLeft"))
    page.locator(".study-thanks:visible").wait_for()

    rows = Storage(folder / "votes.sqlite3").rows()
    expected = [{1: row[3], 2: row[3], 3: "tie"}.get(i, row[2]) for i, row in enumerate(rows)]
    assert [row[4] for row in rows] == expected
    assert len({row[0] for row in rows}) == 1 and len(rows) == 6
    page.goto(f"{address}/?results=guessed")
    page.locator(".study-thanks:visible").wait_for()
    assert not page.locator("#scores .card").count()
    page.goto(results_address)
    page.locator("#scores .card").wait_for()
    with page.expect_download() as download:
        page.locator("#votes").click()
    assert len(read_votes(download.value.path()).winner) == 6
    said = page.locator("#scores").inner_text()
    if "no scores yet" not in said:
        assert "6 votes by 1 raters" in said and "The interval says" in said and "In 1 of them" in said
    assert not wrong
    context.close()


# Holds the message that closes a stream of answers back, as a slow line does, until another request was accepted.
LATE_CLOSE = """
const ask = window.fetch;
let accepted = () => {};
window.fetch = async (input, init) => {
  const answer = await ask(input, init);
  const address = String(input.url ?? input);
  if (address.includes("/queue/join")) setTimeout(() => accepted(), 300);
  if (!address.includes("/queue/data")) return answer;
  let text = "";
  const late = new TransformStream({
    async transform(chunk, controller) {
      text += new TextDecoder().decode(chunk);
      const at = text.indexOf('data: {"msg":"close_stream"');
      if (at < 0) {
        controller.enqueue(new TextEncoder().encode(text));
      } else {
        controller.enqueue(new TextEncoder().encode(text.slice(0, at)));
        window.late = (window.late ?? 0) + 1;
        await Promise.race([new Promise((go) => (accepted = go)), new Promise((go) => setTimeout(go, 5000))]);
        controller.enqueue(new TextEncoder().encode(text.slice(at)));
      }
      text = "";
    },
  });
  return new Response(answer.body.pipeThrough(late), { headers: answer.headers });
};
"""


# Lets the server's word that the first request is accepted come after the answer to it.
LATE_WORD = """
const ask = window.fetch;
let late = true;
window.fetch = async (input, init) => {
  const answer = await ask(input, init);
  if (late && String(input.url ?? input).includes("/queue/join")) {
    late = false;
    await new Promise((go) => setTimeout(go, 1500));
  }
  return answer;
};
"""


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("line", [LATE_CLOSE, LATE_WORD], ids=["late-close", "late-word"])
def test_a_vote_given_while_the_stream_of_answers_closes_is_counted(study, browser, line):
    """Gradio alone would take the stream for open, and wait for ever."""
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.add_init_script(line)
    streams = Counter()
    for event in ("request", "requestfinished"):
        page.on(event, lambda request, event=event: streams.update([event] if "/queue/data" in request.url else []))
    page.goto(study[0])
    for count in range(4):
        page.locator(".study-count", has_text=f"{count} of 6 pairs judged").wait_for()
        page.locator(".study-pair:not(.chosen):visible").wait_for()
        if line == LATE_CLOSE:
            page.wait_for_function(f"window.late > {count}")
        page.keyboard.press("ArrowLeft")
    page.locator(".study-count", has_text="4 of 6 pairs judged").wait_for()
    page.wait_for_timeout(6000)  # longer than the last message is held back
    assert streams["request"] == streams["requestfinished"] > 0, "no stream stays open without need"
    page.close()
