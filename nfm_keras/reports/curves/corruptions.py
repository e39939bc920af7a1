"""Accuracy under common corruptions: by severity, and each one by itself."""

from nfm_keras.corruptions.constants import NAMES, PAPER, SEVERITIES, STANDARD
from nfm_keras.figures.corruptions import corruption_panels
from nfm_keras.reports import captions
from nfm_keras.reports.aggregate import scores_by_id
from nfm_keras.reports.cells import corruption_mean
from nfm_keras.reports.curves.looks import shade, spread, styles

_SHOWN = 3  # the severity of the single corruptions that the paper draws
_MEANS = {
    f"severity (mean of the paper's {len(PAPER)} corruptions)": PAPER,
    f"severity (mean of the {len(STANDARD)} standard corruptions)": STANDARD,
}


def draw(aggregates, path, *, title=None):
    """Draws accuracy under corruptions: by severity, and each one at severity 3.

    By severity, it is the mean over the six corruptions that the paper draws and,
    beside it, over the 15 of the benchmark, where all of them have a score. Shades and
    whiskers are one standard deviation over seeds to either side or, for one seed, the
    95 % interval over images.

    Args:
        aggregates: list of `nfm_keras.reports.aggregate.Aggregate`.
        path: PNG, PDF or SVG file to write; its folder is created.
        title: str.

    Returns:
        The `matplotlib.figure.Figure` written, None where there is nothing to draw.

    Reference: Lim et al., *Noisy Feature Mixup*, ICLR 2022, figure 6.
    """
    lines = {
        label: {a.label: _by_severity(a, kinds) for a in aggregates}
        for label, kinds in _MEANS.items()
    }
    lines = {label: by_row for label, by_row in lines.items() if any(by_row.values())}
    others = [kind for kind in NAMES if kind not in PAPER]
    bars = [bar for kinds in (PAPER, others) if (bar := _bars(aggregates, kinds))]
    if not lines and not bars:
        return None
    caption = captions.of_aggregates(aggregates, kinds=NAMES)
    looks = styles(aggregates)
    caption = f"{caption} {shade(aggregates)}"
    return corruption_panels(
        lines, bars, path, looks, severity=_SHOWN, title=title, caption=caption
    )


def _by_severity(aggregate, kinds, severities=SEVERITIES):
    """(severity, mean, low, high) of the mean over kinds, where all have a score.

    The ends are those of the interval over images where there is one seed, if known.
    """
    runs = [scores_by_id(run, aggregate.protocol) for run in aggregate.records]
    curve = []
    for severity in severities:
        means = [corruption_mean(scores, kinds, [severity]) for scores in runs]
        means = [mean for mean in means if mean]
        if len(means) == 1:
            ((mean, *ends),) = means
            curve.append((severity, mean, *([mean, mean] if None in ends else ends)))
        elif means:
            curve.append((severity, *spread([mean for mean, *_ in means])))
    return curve


def _bars(aggregates, kinds):
    """Label -> kind -> (mean, low, high) at one severity, of what was measured."""
    rows = {a.label: {kind: _bar(a, kind) for kind in kinds} for a in aggregates}
    measured = [kind for kind in kinds if any(row[kind] for row in rows.values())]
    bars = {
        label: {kind: row[kind] for kind in measured} for label, row in rows.items()
    }
    return bars if measured else None


def _bar(aggregate, kind):
    for _, *bar in _by_severity(aggregate, [kind], [_SHOWN]):
        return tuple(bar)
    return None
