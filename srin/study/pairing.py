"""Which pair is shown next: randomized, and balanced over pairs, sides and raters. Knows nothing of files."""

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
        """The same for both ways round."""
        return (self.item, *sorted((self.left, self.right)))  # type: ignore[return-value]


def next_pair(
    methods: Sequence[str], items: Sequence[str], shown: Sequence[Pair], own: Sequence[Pair], random: Random
) -> Pair | None:
    """What a rater has not judged yet and the others have judged least; None when all is judged.

    The item just shown is avoided. Of the two sides, the method takes the one that it has had less often against the
    other, with this rater or, where that is even, with all.

    Args:
        methods, items: of the study.
        shown: what all raters have judged, or are looking at.
        own: this rater's part of it, the latest last.
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
