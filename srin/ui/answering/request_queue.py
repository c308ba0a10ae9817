"""Puts one visitor's requests in order. The page numbers them; they may arrive in another order, or not at all."""

import threading
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

from srin.errors import SrinError

PATIENCE = 60.0  # seconds that a request waits for earlier ones that are missing
MOST_PATIENT = 4  # visitors for whom a thread waits; blocks.py lets in 8 requests at once
MOST_WAITING = 50  # requests of one visitor

Request = TypeVar("Request")
Answer = TypeVar("Answer")

_patient = threading.BoundedSemaphore(MOST_PATIENT)


class RequestQueue(Generic[Request]):
    """Answers one visitor's requests in order. Waiting requests hold no thread: the call at work answers them too.

    answered: the highest number of a request that was answered.
    """

    def __init__(self) -> None:
        self.answered = 0
        self._waiting: dict[int, Request] = {}
        self._at_work = False
        self._changed = threading.Condition()

    def take(self, number: int, request: Request, work: Callable[[Request], Answer]) -> Generator[Answer, None, None]:
        """Yields the answers to this request, and to others that come meanwhile, in the order of their numbers.

        Yields nothing if another call is at work already: that one answers this request too. A call waits for earlier
        requests that are missing. Numbers may be forged, so it waits PATIENCE seconds at most, for a few visitors only.

        Raises SrinError when too many are waiting.
        """
        with self._changed:
            if len(self._waiting) >= MOST_WAITING:
                raise SrinError("That is more at once than can be kept in order. Wait a moment.")
            self._waiting[number] = request
            self._changed.notify()
            if self._at_work:
                return
            self._at_work = True
        try:
            while (found := self._next()) is not None:
                answer = work(found[1])
                with self._changed:
                    self.answered = max(self.answered, found[0])
                yield answer
        except BaseException:  # also GeneratorExit, when the caller takes no more answers
            with self._changed:
                self._at_work = False
            raise

    def _next(self) -> tuple[int, Request] | None:
        """The number and the request whose turn it is; None if none is left, and then this call is no longer at work."""
        with self._changed:
            if not self._waiting:
                self._at_work = False
                return None
            if not self._is_complete() and _patient.acquire(blocking=False):
                try:
                    self._changed.wait_for(self._is_complete, PATIENCE)
                finally:
                    _patient.release()
            number = min(self._waiting)
            return number, self._waiting.pop(number)

    def _is_complete(self) -> bool:
        """Whether all requests before the first one that waits were answered."""
        return min(self._waiting) <= self.answered + 1
