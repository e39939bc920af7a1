"""What was logged over the epochs of training, a line an aggregate."""

import math

from nfm_keras import figures
from nfm_keras.records import watched
from nfm_keras.reports import captions
from nfm_keras.reports.curves.looks import spread, styles


def draw(aggregates, path, *, title=None):
    """Draws training error, test or validation error and training loss over epochs.

    One line an aggregate, the mean over seeds; the shade is one standard deviation to
    either side. The training error of what mixes labels is on mixed batches, where no
    network gets far below half a mixture wrong: it has a panel of its own.

    Args:
        aggregates: list of `nfm_keras.reports.aggregate.Aggregate`, of any protocol.
        path: PNG, PDF or SVG file to write; its folder is created.
        title: str.

    Returns:
        The `matplotlib.figure.Figure` written.

    Raises:
        ValueError: If no record has a history.

    Reference: Lim et al., *Noisy Feature Mixup*, ICLR 2022, figure 13.
    """
    runs = [record for a in aggregates for record in a.records]
    sets = {run.measured_on or watched(run.config) for run in runs}
    panels = {
        "accuracy": "training error (%)",
        "mixed_accuracy": "training error (mixed batches, %)",
        "val_accuracy": f"{' or '.join(sorted(sets))} error (%)",
        "loss": "training loss (nats)",
    }
    lines = {
        label: {a.label: _history(a, key) for a in aggregates}
        for key, label in panels.items()
        if any(run.history.get(key) for run in runs)
    }
    if not lines:
        raise ValueError(
            "Training curves need a history. "
            f"Received: none in {[run.name for run in runs]}"
        )
    caption = captions.of_aggregates(aggregates, measured=False)
    if any(a.seeds > 1 for a in aggregates):
        caption = f"{caption} Shades are one standard deviation over trainings."
    looks = styles(aggregates)
    return figures.histories(lines, path, looks, title=title, caption=caption)


def _history(aggregate, key):
    """(epoch, mean, low, high) of each epoch in which all runs have a number.

    NaN is an epoch that was not evaluated, or a run that diverged: no point there.
    An accuracy is drawn as the error in percent.
    """
    curve = []
    series = zip(*(run.history.get(key, ()) for run in aggregate.records), strict=False)
    for epoch, values in enumerate(series, start=1):
        if all(map(math.isfinite, values)):
            if key.endswith("accuracy"):
                values = [100 * (1 - value) for value in values]
            curve.append((epoch, *spread(values)))
    return curve
