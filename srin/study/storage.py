"""Stores votes in an SQLite file. A vote is one row, written atomically and only once.

Several processes may use one file at the same time. The only thing stored about a rater is a random number.
"""

import csv
import io
import re
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Literal

from srin.errors import OutputError, SrinError
from srin.image_io import write_whole
from srin.study.pairing import Pair, next_pair
from srin.study.results import Results
from srin.study.scoring import COLUMNS, TIE

Answer = Literal["left", "right", "tie"]
RATER = re.compile(r"[0-9a-f]{16}")
PATIENCE = 30.0  # seconds that a writer waits for the others

VOTES = f"""
CREATE TABLE votes (
    rater TEXT NOT NULL, item TEXT NOT NULL, "left" TEXT NOT NULL, "right" TEXT NOT NULL, winner TEXT NOT NULL,
    CHECK ("left" <> "right" AND winner IN ("left", "right", '{TIE}'))
)
"""
# For files of versions without ties, whose check refuses ties: copies their votes to a new table, in the same order.
TAKE_OVER = (
    "DROP INDEX IF EXISTS once",
    "ALTER TABLE votes RENAME TO votes_without_ties",
    VOTES,
    "INSERT INTO votes SELECT * FROM votes_without_ties ORDER BY rowid",
    "DROP TABLE votes_without_ties",
)
TABLES = """
CREATE UNIQUE INDEX IF NOT EXISTS once ON votes (rater, item, min("left", "right"), max("left", "right"));
-- What each rater is looking at.
CREATE TABLE IF NOT EXISTS offers (
    rater TEXT PRIMARY KEY, item TEXT NOT NULL, "left" TEXT NOT NULL, "right" TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS secrets (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class Storage:
    """The votes of one study. Every method raises OutputError when the file can't be read or written.

    Args:
        path: the file, made if it isn't there. It must be on a local disk, as SQLite's write-ahead log requires.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._connected() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        with self._writing() as connection:
            made = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'votes'").fetchone()
            if made is None:
                connection.execute(VOTES)
            elif f"'{TIE}'" not in made[0]:
                for statement in TAKE_OVER:
                    connection.execute(statement)
        with self._connected() as connection:
            connection.executescript(TABLES)
            connection.execute("INSERT OR IGNORE INTO secrets VALUES ('results', ?)", [secrets.token_urlsafe(12)])

    @staticmethod
    def new_rater() -> str:
        return secrets.token_hex(8)

    @property
    def key(self) -> str:
        """The secret key with which the study's owner sees its results; the same after a restart."""
        with self._connected() as connection:
            return connection.execute("SELECT value FROM secrets WHERE name = 'results'").fetchone()[0]

    def offer(self, rater: str, results: Results, random: Random) -> tuple[int, Pair | None]:
        """How many pairs a rater has judged, and the next pair, or None if there is none left.

        The pair stays the same until it is judged. Raises SrinError if `rater` is not of the form of `new_rater`.
        """
        if not RATER.fullmatch(rater):
            raise SrinError("This is no rater's number. Load the page again.")
        with self._writing() as connection:
            own = self._pairs(connection, "votes WHERE rater = ? ORDER BY rowid", rater)
            looking = self._pairs(connection, "offers WHERE rater = ?", rater)
            if looking and looking[0].question not in {pair.question for pair in own} and _known(looking[0], results):
                return len(own), looking[0]
            shown = self._pairs(connection, "votes") + self._pairs(connection, "offers WHERE rater <> ?", rater)
            pair = next_pair(results.methods, results.items, shown, own, random)
            if pair is None:
                connection.execute("DELETE FROM offers WHERE rater = ?", [rater])
            else:
                row = (rater, pair.item, pair.left, pair.right)
                connection.execute("INSERT OR REPLACE INTO offers VALUES (?, ?, ?, ?)", row)
            return len(own), pair

    def vote(self, rater: str, number: int, answer: Answer) -> bool:
        """Stores a rater's answer about the pair on offer. number: how many pairs the rater had judged before it.

        Returns whether it was counted: an answer that was sent twice, or from another window, is not.
        """
        with self._writing() as connection:
            (count,) = connection.execute("SELECT count(*) FROM votes WHERE rater = ?", [rater]).fetchone()
            looking = self._pairs(connection, "offers WHERE rater = ?", rater)
            if number != count or not looking:
                return False
            pair = looking[0]
            winner = {"left": pair.left, "right": pair.right, "tie": TIE}[answer]
            row = (rater, pair.item, pair.left, pair.right, winner)
            connection.execute("INSERT INTO votes VALUES (?, ?, ?, ?, ?)", row)
            connection.execute("DELETE FROM offers WHERE rater = ?", [rater])
            return True

    def take_back(self, rater: str, number: int) -> bool:
        """Takes back a rater's last vote; its pair is offered again, as it was shown. number: the rater's votes so far.

        Returns whether it was taken back: a request that was sent twice, or from another window, is ignored.
        """
        with self._writing() as connection:
            own = self._pairs(connection, "votes WHERE rater = ? ORDER BY rowid", rater)
            if not own or number != len(own):
                return False
            pair = own[-1]
            connection.execute("DELETE FROM votes WHERE rowid = (SELECT max(rowid) FROM votes WHERE rater = ?)", [rater])
            row = (rater, pair.item, pair.left, pair.right)
            connection.execute("INSERT OR REPLACE INTO offers VALUES (?, ?, ?, ?)", row)
            return True

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """All votes in their order: rater, item, left, right, and the winner or "tie"."""
        with self._connected() as connection:
            return connection.execute(f"SELECT {', '.join(map(_quoted, COLUMNS))} FROM votes ORDER BY rowid").fetchall()

    def export(self, path: Path) -> None:
        """Writes the votes as a CSV file for `scoring.read_votes`. Raises OutputError."""
        stream = io.StringIO(newline="")
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        writer.writerows(self.rows())
        write_whole(stream.getvalue().encode(), path)

    @staticmethod
    def _pairs(connection: sqlite3.Connection, where: str, *values: str) -> list[Pair]:
        return [Pair(*row) for row in connection.execute(f'SELECT item, "left", "right" FROM {where}', values)]

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A connection in a write transaction, which excludes other writers."""
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = sqlite3.connect(self._path, timeout=PATIENCE, isolation_level=None)
            try:
                yield connection
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise OutputError(f"The votes in {self._path} can't be read or written: {error}.") from error


def _known(pair: Pair, results: Results) -> bool:
    """Whether the results of the pair still exist: the study's folder may have changed."""
    return all((method, pair.item) in results.pictures for method in (pair.left, pair.right))


def _quoted(name: str) -> str:
    return f'"{name}"'
