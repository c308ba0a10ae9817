"""The order of one visitor's requests: the page numbers them, the network shuffles them, and some go missing."""

import threading
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

from srin.errors import SrinError

PATIENCE = 60.0  # seconds that a request waits for those before it
MOST_PATIENT = 4  # visitors for whom somebody waits, of all that blocks.py lets in at once
MOST_WAITING = 50  # requests of one visitor

Request = TypeVar("Request")
Answer = TypeVar("Answer")

_patient = threading.BoundedSemaphore(MOST_PATIENT)


class RequestQueue(Generic[Request]):
    """Requests that wait hold no thread: whichever of a visitor's is at work takes the others along.

    answered: the number of the last request that was.
    """

    def __init__(self) -> None:
        self.answered = 0
        self._waiting: dict[int, Request] = {}
        self._at_work = False
        self._changed = threading.Condition()

    def take(self, number: int, request: Request, work: Callable[[Request], Answer]) -> Generator[Answer, None, None]:
        """The answers to this request, and to others that come meanwhile, in the order of their numbers.

        None at all where another call is at work already: it answers this request too. Numbers may be forged, so for
        earlier ones that are missing one thread of a visitor waits, of few visitors at a time, and not for ever.

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
        except BaseException:  # also where the answer is not asked for any more
            with self._changed:
                self._at_work = False
            raise

    def _next(self) -> tuple[int, Request] | None:
        """The request whose turn it is; without one, this call is no longer at work."""
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
        """Whether all before the first one that waits were answered."""
        return min(self._waiting) <= self.answered + 1
