"""Scores and durations as text."""

from nfm_keras.records.ids import NO_PROTOCOL
from nfm_keras.records.score import Score


def line(score: Score, left: float | None = None) -> str:
    """Returns a score as one line of text.

    Args:
        score: `Score`.
        left: Seconds that the rest will take.

    Example:

    >>> line(Score("pgd@8/255", 8 / 255, "none", 50.0, 9.5, 90.5, 2, 1, 0, 0.1, {}))
    'pgd@8/255                      50.00 %  [9.50, 90.50]  n=2  0.1 s'
    """
    name = score.perturbation
    if score.protocol != NO_PROTOCOL:
        name = f"{name} ({score.protocol})"
    text = (
        f"{name:<28} {score.value:7.2f} %  [{score.low:.2f}, {score.high:.2f}]  "
        f"n={score.n}  {score.seconds:.1f} s"
    )
    doubts = [f"{doubt} {count}" for doubt, count in score.warnings.items()]
    text += f"  doubtful: {', '.join(doubts)}" if doubts else ""
    if not left:
        return text
    return f"{text}  (about {left / 60:.0f} min left)" if left >= 60 else text


def duration(seconds: float) -> str:
    """Returns a duration in the unit that suits it.

    Example:

    >>> duration(42.1), duration(200), duration(9000)
    ('42 s', '3 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
