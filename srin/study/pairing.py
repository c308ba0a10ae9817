"""Chooses the next pair to show: randomized, and balanced over pairs, sides and raters."""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Pair:
    """Two methods' results of one item, as they are shown."""

    item: str
    left: str
    right: str

    @property
    def question(self) -> tuple[str, str, str]:
        """Item and methods, the same for both orders of left and right."""
        return (self.item, *sorted((self.left, self.right)))  # type: ignore[return-value]


def next_pair(
    methods: Sequence[str], items: Sequence[str], shown: Sequence[Pair], own: Sequence[Pair], random: Random
) -> Pair | None:
    """The next pair for a rater: one of those judged least often that this rater has not judged; None if there is none.

    The item just shown is avoided. A method is shown on the side where this rater has seen it less often against the
    other method; if that is even, where all raters have; if that is even too, on a random side.

    Args:
        methods, items: of the study.
        shown: all pairs that raters have judged or are looking at.
        own: the pairs that this rater has judged, the latest last.
    """
    judged = {pair.question for pair in own}
    counts = Counter(pair.question for pair in shown)
    latest = own[-1].item if own else None
    pairs = [(item, *pair) for item in items for pair in itertools.combinations(sorted(methods), 2)]
    open_pairs = [question for question in pairs if question not in judged]
    if not open_pairs:
        return None
    fewest = min(counts[question] for question in open_pairs)
    least = [question for question in open_pairs if counts[question] == fewest]
    item, first, second = random.choice([question for question in least if question[0] != latest] or least)
    for seen in (own, shown):
        lead = sum((p.left == first) - (p.left == second) for p in seen if {p.left, p.right} == {first, second})
        if lead:
            break
    else:
        lead = random.choice((-1, 1))
    return Pair(item, first, second) if lead < 0 else Pair(item, second, first)
