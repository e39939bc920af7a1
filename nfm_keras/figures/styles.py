"""How lines look: a colour for each scheme, the same in every figure."""

import re

# Okabe and Ito's colours, told apart by colour-blind readers; markers for print.
STYLES = (
    ("#000000", "o"), ("#56B4E9", "s"), ("#E69F00", "^"), ("#CC79A7", "D"),
    ("#009E73", "v"), ("#D55E00", "P"), ("#0072B2", "X"), ("#999999", "*"),
)  # fmt: skip

# After those eight, Tol's.
_MORE = (
    ("#882255", "p"), ("#999933", "h"), ("#332288", "<"), ("#AA4499", ">"),
    ("#6699CC", "d"), ("#117733", "x"), ("#DDCC77", "H"), ("#661100", "8"),
)  # fmt: skip
_ALL = STYLES + _MORE

DASHES = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)))
_HATCHES = dict(zip(DASHES, (None, "////", "....", "xxxx", "++++"), strict=True))

# Each scheme has a colour of its own, the same in every figure.
_STYLED = (
    *("erm", "noise", "mixup", "noisy_mixup", "manifold_mixup", "nfm"),
    *("label_smoothing", "cutmix", "adversarial", "puzzlemix", "noisymix"),
    *("nfm_star", "noise_reference"),
)


def place_styles(names):
    """Returns the colour, marker and dashes of lines, by their place.

    Args:
        names: iterable of str, with repetitions.

    Returns:
        Dict from name to line properties of matplotlib.

    Example:

    >>> place_styles(["erm", "nfm", "erm"])["nfm"]
    {'color': '#56B4E9', 'marker': 's', 'linestyle': '-'}
    """
    return {name: _style(i) for i, name in enumerate(dict.fromkeys(names))}


def scheme_styles(schemes):
    """Returns the colour, marker and dashes of lines, by their scheme.

    Variants of a scheme share its colour; dashes and markers tell them apart. A name
    that is no scheme of ours has one of the colours that are left, in alphabetical
    order.

    Args:
        schemes: list of str, one a line.

    Returns:
        List of dicts of line properties, in the order of `schemes`.

    Example:

    >>> [style["linestyle"] for style in scheme_styles(["nfm", "erm", "nfm"])]
    ['-', '-', '--']
    """
    order = [*_STYLED, *sorted(set(schemes) - set(_STYLED))]
    return [
        _style(order.index(scheme), schemes[:index].count(scheme))
        for index, scheme in enumerate(schemes)
    ]


def scheme_of(name):
    """Returns the scheme that a name speaks of, or the name where there is none.

    Args:
        name: str, of a run or a classifier.

    Example:

    >>> [scheme_of(name) for name in ("cifar10_noisy_mixup-0", "NFM", "mine")]
    ['noisy_mixup', 'nfm', 'mine']
    """
    words = f"_{re.sub(r'[^a-z]+', '_', name.lower())}_"
    told = [scheme for scheme in _STYLED if f"_{scheme}_" in words]
    return max(told, key=len, default=name)


def model_styles(models):
    """Returns the look of each model, by the scheme that its name speaks of.

    Args:
        models: iterable of str.

    Returns:
        Dict from model to line properties of matplotlib.

    Example:

    >>> model_styles(["runs/nfm-0"])["runs/nfm-0"]["color"]
    '#D55E00'
    """
    models = list(models)
    looks = scheme_styles([scheme_of(model) for model in models])
    return dict(zip(models, looks, strict=True))


def bar_styles(styles):
    """Returns the look of bars: what is dashed as a line is hatched as a bar.

    Args:
        styles: Dict from name to line properties, as of `model_styles`.

    Example:

    >>> bar_styles(model_styles(["nfm_a", "nfm_b"]))["nfm_b"]
    {'color': '#D55E00', 'hatch': '////'}
    """
    return {
        name: {"color": style["color"], "hatch": _HATCHES[style["linestyle"]]}
        for name, style in styles.items()
    }


def _style(index, variant=0):
    turn, at = divmod(index, len(_ALL))
    variant += turn
    marker = _ALL[(at + variant) % len(_ALL)][1]
    dashes = DASHES[variant % len(DASHES)]
    return {"color": _ALL[at][0], "marker": marker, "linestyle": dashes}
