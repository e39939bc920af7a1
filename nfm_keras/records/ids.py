"""The ids of perturbations, as flags, records, plots and tests write them.

`salt_and_pepper@0.04` or `pgd@8/255`: a kind and, behind the `@`, its severity.

The protocols differ, and their numbers must not be mixed:

* `reference`: what the published tables were measured with, taken from the authors'
  code.
* `pixel`: what the paper's text says (appendix F.1): noise on [0,1] pixels.
"""

PROTOCOLS = ("reference", "pixel")

NO_PROTOCOL = "none"
"""The protocol of a score that none touches, such as clean accuracy."""

SUITES = ("quick", "standard", "full")
"""The named plans of an evaluation, from two minutes to a day."""

NOISES = ("white_noise", "salt_and_pepper")
ATTACKS = (
    *("fgsm", "fgsm_l2", "pgd", "pgd_l2", "pgd_t", "pgd_t_l2"),
    *("apgd_ce", "apgd_ce_l2", "apgd_dlr", "apgd_dlr_l2", "apgd_t", "apgd_t_l2"),
    *("fab_t", "fab_t_l2", "square", "square_l2", "autoattack", "autoattack_l2"),
)
KINDS = ("clean", *NOISES, *ATTACKS)


def kind(perturbation):
    """Returns an id without its severity.

    Args:
        perturbation: str, an id.

    Example:

    >>> kind("pgd@8/255")
    'pgd'
    """
    return perturbation.partition("@")[0]


def split(perturbation):
    """Returns kind and severity of an id.

    Args:
        perturbation: str, an id; the severity is a number or a fraction.

    Returns:
        `(kind, severity)`: str and float, None where the id has no `@`.

    Raises:
        ValueError: If what is behind the `@` is no number.

    Example:

    >>> split("pgd_l2@1/2"), split("clean")
    (('pgd_l2', 0.5), ('clean', None))
    """
    name, at, severity = str(perturbation).strip().partition("@")
    if not at:
        return name, None
    try:
        top, _, bottom = severity.partition("/")
        return name, float(top) / float(bottom or 1)
    except (ValueError, ZeroDivisionError):
        raise ValueError(
            "The severity after `@` must be a number or a fraction such as 8/255. "
            f"Received: {perturbation!r}"
        ) from None


def join(name, severity):
    """Returns the id of a kind at a severity: the way back from `split`.

    Example:

    >>> join("pgd", 8 / 255)
    'pgd@8/255'
    """
    return f"{name}@{format_severity(severity)}"


def format_severity(severity):
    """Returns a severity with all its digits, as a fraction of 255 where it is one.

    Example:

    >>> format_severity(0.1), format_severity(8 / 255), format_severity(1 / 7)
    ('0.1', '8/255', '0.14285714285714285')
    """
    severity = float(severity)  # a number of NumPy's has another repr
    short, level = f"{severity:.6g}", round(severity * 255)
    if float(short) == severity:
        return short
    return f"{level}/255" if level / 255 == severity else repr(severity)


def check_protocol(protocol):
    """Refuses an unknown protocol.

    Raises:
        ValueError: If it is none of `PROTOCOLS`.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(
            f"`protocol` must be one of {', '.join(PROTOCOLS)}. Received: {protocol!r}"
        )
