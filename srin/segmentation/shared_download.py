"""One download of a checkpoint, shared by all visitors of this process. It stops when all who asked for it cancel."""

import logging
import threading
import time
from dataclasses import dataclass
from typing import Literal

from srin.errors import SegmentationError
from srin.segmentation.checkpoints import Checkpoint, download

SURE = 2.0  # seconds after which the remaining time is estimated


@dataclass(frozen=True)
class Status:
    """The progress of a download.

    Attributes:
        state: "idle": none has begun, or the last one has ended. "running". "stopped": cancelled, can be continued.
            "failed": see problem.
        done, total: bytes. left: seconds, or None while unknown.
        problem: a sentence for people; empty unless it failed.
    """

    state: Literal["idle", "running", "stopped", "failed"] = "idle"
    done: int = 0
    total: int = 0
    left: float | None = None
    problem: str = ""


class SharedDownload:
    """At most one download at a time. Safe to use from several threads.

    Visitors are told apart by a name, any string. When a download stops, the bytes so far are kept, and the next download
    continues it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._askers: set[str] = set()
        self._thread: threading.Thread | None = None
        self._status = Status()
        self._first: tuple[float, int] | None = None  # when the first bytes came, and how many were there then

    @property
    def status(self) -> Status:
        return self._status

    def ask(self, who: str, checkpoint: Checkpoint) -> None:
        """Begins a download, or joins the one that runs. Returns at once."""
        with self._lock:
            self._askers.add(who)
            if self._status.state == "running":
                return
            self._status, self._first = Status("running", 0, checkpoint.size), None
            # If a stopped download still waits for its server, that one goes on instead.
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, args=(checkpoint,), name="download", daemon=True)
                self._thread.start()

    def cancel(self, who: str) -> bool:
        """Withdraws a visitor's request.

        Returns:
            True if the download stops, which it does at once. False if it goes on because others have asked for it too.
        """
        with self._lock:
            self._askers.discard(who)
            if self._askers:
                return False
            if self._status.state == "running":
                self._status = Status("stopped", self._status.done, self._status.total)
            return True

    def leave(self, who: str) -> None:
        """Forgets a visitor who has left without cancelling. The download goes on."""
        with self._lock:
            self._askers.discard(who)

    def _run(self, checkpoint: Checkpoint) -> None:
        while True:
            problem, stopped = "", False
            try:
                download(checkpoint, self._progress)
            except _Stopped:
                stopped = True
            except SegmentationError as error:
                problem = str(error)
            except Exception as error:
                logging.exception("The download of %s failed", checkpoint.name)
                problem = f"The download failed ({error})."
            with self._lock:
                is_wanted = self._status.state == "running"
                if is_wanted and stopped:  # asked for again before it had ended
                    continue
                self._thread = None
                if is_wanted:
                    if problem:
                        logging.error("%s", problem)
                    self._status = Status("failed" if problem else "idle", problem=problem)
                    self._askers.clear()
                return

    def _progress(self, done: int, total: int) -> None:
        now = time.monotonic()
        with self._lock:
            if self._status.state != "running":
                raise _Stopped
            begun, before = self._first = self._first or (now, done)
            left = (total - done) * (now - begun) / (done - before) if now - begun > SURE and done > before else None
            self._status = Status("running", done, total, left)


class _Stopped(Exception):
    pass
