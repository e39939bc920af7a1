"""Which code of ours measured something: numbers that are raised where it changes.

What was measured by another revision is not handed back, but measured again. So raise
the number here with every change of an attack, a noise or a check after which the same
classifier and images may come out otherwise.
"""

from typing import Any

REVISIONS = {
    "noise": 1,
    "corruption": 1,
    "attack": 1,
    "certification": 1,
    "masking": 2,
}
"""0 are those that were written before there were numbers."""


def revision_of(kind: str, perturbation: Any) -> int:
    """Returns the revision of the code of a perturbation.

    Args:
        kind: str, a key of `REVISIONS`.
        perturbation: `Perturbation`, `Corruption` or attack. One whose class is not of
            this package has the attribute `revision`, an int from 1 on that its author
            raises, or else 0: nobody knows of what code its scores are.

    Example:

    >>> import types
    >>> mine = types.SimpleNamespace(id="my_fog@1", severity=1.0)
    >>> revision_of("noise", mine)
    0
    """
    if is_ours(perturbation):
        return REVISIONS[kind]
    return int(getattr(perturbation, "revision", 0))


def is_ours(perturbation: Any) -> bool:
    """Returns whether the class of a perturbation is one of this package."""
    return type(perturbation).__module__.partition(".")[0] == "nfm_keras"
