"""The part of an evaluation's report about one temperature on held-out images."""

from nfm_keras import data
from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.evaluation.inputs import passes
from nfm_keras.table import Table
from nfm_keras.theory.calibration import calibrate

_HEADER = ("", "temperature", "held out", "accuracy (%)")
_PAIRS = (
    ("confidence (%)", "confidence", 1, ".1f"),
    ("calibration error (%)", "ece", 100, ".1f"),
    ("loss (nats)", "nll", 1, ".4f"),
)


def section(loaded, test, data_dir=None, *, from_logits=None, batch_size=250):
    """Returns accuracy and confidence before and after one temperature, as Markdown.

    The temperature is fitted on the images that the run held out of training to
    validate on, never on those it is scored on.

    Args:
        loaded: List of `nfm_keras.evaluation.classifiers.Loaded`.
        test: `data.Split` that is scored; clean.
        data_dir: As in `nfm_keras.data.load`.
        from_logits: As in `nfm_keras.evaluate`.
        batch_size: int.
    """
    rows, without = [], []
    for one in loaded:
        held = one.record.config.get("validation", 0) if one.record else 0
        if not held or data.is_photographs(one.record.dataset):
            without.append(one.name)
            continue
        limit = one.record.config.get("limit")  # else others would be held out
        known = data.load(
            one.record.dataset, data_dir, limit=limit, validation=held
        ).validation
        plain = PlainClassifier(one.classifier, from_logits)
        logits = [
            plain.shares(passes.logits_of(plain, part.images, batch_size))
            for part in (known, test)
        ]
        found = calibrate((logits[0], known.labels), (logits[1], test.labels))
        row = [one.name, f"{found.temperature:.3g}", held, f"{found.accuracy:.1f}"]
        for _, key, factor, form in _PAIRS:
            values = (getattr(found, f"{key}_{when}") for when in ("before", "after"))
            row += [format(factor * value, form) for value in values]
        rows.append(row)
    parts = ["## One temperature"]
    if rows:
        header = [*_HEADER]
        for label, *_ in _PAIRS:
            header += [f"{label} before", "after"]
        parts += [
            "Fitted on images that the run held out of training, scored on the clean "
            f"images of this report, n={len(test.labels)}. The calibration error is "
            "less what chance alone would give. The temperature is 1 where every "
            "held-out image is right: no other is the best then.",
            Table(header, rows, "l" + "r" * (len(header) - 1)).to_markdown().strip(),
        ]
    if without:
        parts.append(
            f"None for {', '.join(without)}: no held-out images (`--validation` of "
            "nfm-train), and a temperature fitted on the scored ones says nothing."
        )
    return "\n\n".join(parts)
