"""What an error says of a name that nobody knows, or of a number out of its range."""

import difflib
import math
import numbers


def unknown(what, name, known, near=None):
    """Returns the error for a name that is not in a table.

    Args:
        what: str. What it should have been the name of, such as `"scheme"`.
        name: What was given.
        known: Names of the table.
        near: What names are to be near to, where that is a part of `name`.

    Returns:
        A `ValueError` to raise, with the names that are near and all that are known.

    Example:

    >>> unknown("kind", "fogg", ["fog"])
    ValueError("Unknown kind. Did you mean 'fog'? Known: fog. Received: 'fogg'")
    """
    hint = did_you_mean(name if near is None else near, known)
    return ValueError(
        f"Unknown {what}.{hint} Known: {', '.join(known)}. Received: {name!r}"
    )


def did_you_mean(name, known):
    """Returns a hint to put into an error, empty where no known name is near.

    Args:
        name: What was given.
        known: Names that would have been right.

    Example:

    >>> did_you_mean("fogg", ["fog", "snow"])
    " Did you mean 'fog'?"
    """
    near = difflib.get_close_matches(str(name), list(known), n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def check_count(name, value, least=1):
    """Refuses what is not an integer, or less than the least.

    Args:
        name: str, of the argument.
        value: What was given.
        least: int.

    Raises:
        ValueError: Naming the argument.
    """
    if is_number(value, numbers.Integral) and value >= least:
        return
    expected = "a positive integer" if least == 1 else f"an integer, {least} or more"
    raise ValueError(f"`{name}` must be {expected}. Received: {value!r}")


def check_number(name, value, *, least=None, most=None, above=None, below=None):
    """Refuses what is not a finite real number in a range.

    Args:
        name: str, of the argument.
        value: What was given.
        least, most: Ends of the range that belong to it; None for none.
        above, below: Ends that do not.

    Raises:
        ValueError: Naming the argument and the range.

    Example:

    >>> check_number("rate", 0.5, least=0, below=1)
    """
    ends = (
        (least, "at least", lambda end: value >= end),
        (above, "above", lambda end: value > end),
        (most, "at most", lambda end: value <= end),
        (below, "below", lambda end: value < end),
    )
    ends = [end for end in ends if end[0] is not None]
    finite = is_number(value) and math.isfinite(value)
    if finite and all(holds(end) for end, _, holds in ends):
        return
    limits = " and ".join(f"{words} {end:g}" for end, words, _ in ends)
    raise ValueError(
        f"`{name}` must be a finite number, {limits}. Received: {value!r}"
        if limits
        else f"`{name}` must be a finite number. Received: {value!r}"
    )


def check_radius(name, value, norm, **ends):
    """Refuses radii of perturbations that are out of range, or larger than all images.

    Args:
        name: str, of the argument.
        value: What was given.
        norm: str, `"linf"` or another.
        **ends: As in `check_number`.

    Raises:
        ValueError: Naming the argument and the range.

    Example:

    >>> check_radius("epsilon", 8 / 255, "linf", least=0)
    """
    check_number(name, value, **ends)
    if norm == "linf" and value > 1:
        raise ValueError(
            f"`{name}` must be at most 1 in the linf norm, since images are in [0, 1]: "
            f"8/255 for 8 levels of 255. Received: {value!r}"
        )


def is_number(value, kind=numbers.Real):
    """Returns whether a value is a number; booleans, which Python counts, are none."""
    return isinstance(value, kind) and not isinstance(value, bool)


def check_weights(name, values):
    """Returns relative weights as a tuple of float, once they are checked.

    Args:
        name: str, of the argument.
        values: Iterable of numbers.

    Raises:
        ValueError: Naming the argument, if one is negative or not finite, or if none
            is positive.

    Example:

    >>> check_weights("shares", [3, 1])
    (3.0, 1.0)
    """
    values = tuple(values)
    good = all(is_number(v) and math.isfinite(v) and v >= 0 for v in values)
    if not good or not any(values):
        raise ValueError(
            f"`{name}` must be finite numbers, 0 or more and not all 0. Received: "
            f"{list(values)}"
        )
    return tuple(float(value) for value in values)


def unique_names(names):
    """Returns the names of sites as a tuple, once they are checked.

    Args:
        names: A name, or an iterable of names.

    Raises:
        ValueError: If there is none, or one is there twice.
    """
    names = (names,) if isinstance(names, str) else tuple(names)
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        raise ValueError(
            "`sites` must be a non-empty sequence of different names. "
            f"Received: {list(names)}" + (f", with {twice} twice" if twice else "")
        )
    return names
