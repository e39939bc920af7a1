"""Why stored results are not used, in one line."""

import warnings

_NAMED = 3
_BEFORE = "written before results said which code measured them"


class StoreWarning(UserWarning):
    """Stored results that are not used, and are measured again."""


def tell(path, reasons):
    """Warns once of all stored results that are not used, and says why.

    Args:
        path: Path of the file.
        reasons: List of `(name, reason)`: what was asked for, and why it is measured
            again though the file has it.
    """
    if not reasons:
        return
    names = {reason: [n for n, r in reasons if r == reason] for _, reason in reasons}
    parts = [f"{_listed(group)} ({reason})" for reason, group in names.items()]
    text = f"{path} has results that do not count here: {'; '.join(parts)}"
    warnings.warn(text, StoreWarning, stacklevel=2)


def reason(wanted, stored):
    """Returns why none of some stored results is the one that is wanted.

    Args:
        wanted: dict of what determines a result: settings, `n`, `seed`, `revision` ...
        stored: list of such dicts; that counts which differs in the fewest entries.

    Returns:
        str; empty where one of them is as wanted, or there are none.

    Example:

    >>> wanted = {"n": 9, "revision": 1}
    >>> reason(wanted, [{"n": 9, "revision": 0}, {"n": 5, "revision": 0}])
    'written before results said which code measured them'
    >>> reason(wanted, [{"n": 5, "revision": 1}])
    'n was 5, is 9'
    """
    differences = [_differing(wanted, other) for other in stored]
    if not all(differences):
        return ""
    fewest = min(differences, key=len, default=[])
    return ", ".join(_worded(*each) for each in fewest)


def _differing(wanted, other):
    names = dict.fromkeys((*wanted, *other))
    pairs = [(name, other.get(name), wanted.get(name)) for name in names]
    return [(name, was, now) for name, was, now in pairs if not _same(name, was, now)]


def _same(name, was, now):
    # Two results of unknown code are not known to be the same.
    return was == now and not (name == "revision" and not now)


def _worded(name, was, now):
    if name != "revision":
        return f"{name} was {was}, is {now}"
    if not now:
        return "its class does not say the `revision` of its code"
    return f"its code was revision {was}, is {now}" if was else _BEFORE


def _listed(names):
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
