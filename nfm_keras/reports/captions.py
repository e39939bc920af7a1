"""Captions: what was trained, what scores were measured on, in plain sentences."""

from nfm_keras.corruptions.constants import NAMES
from nfm_keras.records import ids
from nfm_keras.records.ids import ATTACKS, NO_PROTOCOL
from nfm_keras.reports.cells import of_protocol

_PROTOCOLS = {
    "reference": "Noises as in the published tables (protocol reference).",
    "pixel": "Noises on [0, 1] pixels (protocol pixel).",
}


def of_aggregates(aggregates, *, kinds=(), measured=True):
    """Returns what all aggregates share, and the values of what they do not.

    Args:
        aggregates: list of `nfm_keras.reports.aggregate.Aggregate`. Where some have
            nothing to show, those that do are counted.
        kinds: iterable of str, the perturbations whose number of images is told.
        measured: bool. Say the protocol.
    """
    there = [a for a in aggregates if (a.cells if measured else a.records)]
    runs = [record for a in aggregates for record in a.records]
    configs = [run.config for run in runs]
    limits = {config.get("limit") for config in configs}
    told = [f"the first {limit:,}" for limit in sorted(limits - {None})]
    told = (["all"] if None in limits else []) + told
    first = f"{joined(told)} training images of " if limits - {None} else ""
    parts = [
        f"{joined(run.network for run in runs)}, width "
        f"{joined(config.get('width', 'unknown') for config in configs)}, trained on "
        f"{first}{joined(run.dataset for run in runs)} for "
        f"{joined(config.get('epochs', 'unknown') for config in configs)} epochs,",
        f"{_counted(sorted({a.seeds for a in aggregates} - {0}), 'seed')} a row.",
    ]
    if len(there) < len(aggregates):
        unmeasured = measured and any(a.records and not a.cells for a in aggregates)
        how = "have scores" if unmeasured else "are there"
        parts.append(f"{len(there)} of {len(aggregates)} rows {how}.")
    if measured:
        protocol = aggregates[0].protocol
        scores = [s for run in runs for s in of_protocol(run.scores, protocol)]
        parts += [_PROTOCOLS[protocol]] if protocol in _PROTOCOLS else []
        parts += _images([s for s in scores if ids.kind(s.perturbation) in set(kinds)])
    return f"{' '.join(parts)} Made on {joined(map(machine, runs))}."


def of_evaluations(evaluations, kinds=None, *, images=True):
    """Returns what all evaluations share, and the values of what they do not.

    Args:
        evaluations: list of `nfm_keras.records.evaluation.Evaluation`.
        kinds: iterable of str, the perturbations that are shown; by default all.
        images: bool. Say how many images there are.
    """
    scores = [score for evaluation in evaluations for score in evaluation]
    if kinds is not None:
        kinds = set(kinds)
        scores = [s for s in scores if ids.kind(s.perturbation) in kinds]
    protocols = sorted({score.protocol for score in scores} - {NO_PROTOCOL})
    attacked = [s for s in scores if ids.kind(s.perturbation) in ATTACKS]
    others = [s for s in scores if ids.kind(s.perturbation) not in ATTACKS]
    parts = [
        f"{joined(evaluation.dataset for evaluation in evaluations)}.",
        *[_PROTOCOLS[protocol] for protocol in protocols],
        *(_images(others) + _images(attacked, "are attacked") if images else []),
        *_corruptions([s for s in scores if ids.kind(s.perturbation) in NAMES]),
    ]
    return f"{' '.join(parts)} Made on {joined(map(machine, evaluations))}."


def joined(values):
    """Returns values as text, each once.

    Example:

    >>> joined([1000, 500, 1000])
    '1000 and 500'
    """
    return " and ".join(dict.fromkeys(map(str, values)))


def listed(texts):
    """Returns texts as one.

    Example:

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    *first, last = [*texts] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def machine(made):
    """Returns what something was made on: its accelerators, or else its CPU.

    Args:
        made: `Record` or `Evaluation`.
    """
    accelerators = made.hardware.get("accelerators") or ()
    return ", ".join(accelerators) or str(made.hardware.get("cpu", "unknown"))


def _images(scores, what="are scored"):
    sizes = sorted({score.n for score in scores})
    return [f"{joined(f'{n:,}' for n in sizes)} images {what}."] if sizes else []


def _corruptions(scores):
    """Where corrupted images came from, in sentences."""
    sources = sorted({score.settings.get("source", "generated") for score in scores})
    frost = any(score.settings.get("frost") == "synthetic" for score in scores)
    return [
        *([f"Corruptions are {joined(sources)}."] if sources else []),
        *(["Frost is synthetic: drawn, without photographs."] if frost else []),
    ]


def _counted(numbers, noun):
    """`1 seed`, `2 seeds`, `1 and 3 seeds`."""
    return f"{joined(numbers)} {noun}{'s' if numbers != [1] else ''}"
