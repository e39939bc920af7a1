"""Names that nobody knows: what an error says of them."""

import difflib


def unknown(what, name, known):
    """The error for a name that is not in a table.

    Args:
        what: str. What it should have been the name of, such as `"scheme"`.
        name: what was given.
        known: names of the table.

    Returns:
        A `ValueError` to raise, which lists the near names or, without any, all.

    Example:

    >>> unknown("suite", "quik", ["quick", "full"])
    ValueError("Unknown suite. Expected one of: quick. Received: 'quik'")
    """
    near = difflib.get_close_matches(str(name), known, n=3) or list(known)
    return ValueError(
        f"Unknown {what}. Expected one of: {', '.join(near)}. Received: {name!r}"
    )


def did_you_mean(name, known):
    """A hint to put into an error, empty where no known name is near.

    Example:

    >>> did_you_mean("fogg", ["fog", "snow"])
    ' Did you mean fog?'
    """
    near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(near)}?" if near else ""
