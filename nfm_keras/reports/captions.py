"""Captions: what scores were measured on, in one line."""

from nfm_keras.corruptions.constants import NAMES
from nfm_keras.records import ids
from nfm_keras.records.ids import ATTACKS, NO_PROTOCOL
from nfm_keras.reports.cells import of_protocol


def of_aggregates(aggregates, *, measured=True):
    """Returns what all aggregates share, and the values of what they do not.

    Args:
        aggregates: list of `nfm_keras.reports.aggregate.Aggregate`. Where some have
            nothing to show, those that do are counted.
        measured: bool. Say the protocol and how many images the scores are of.
    """
    there = [a for a in aggregates if (a.cells if measured else a.records)]
    runs = [record for a in aggregates for record in a.records]
    configs = [run.config for run in runs]
    limits = {config.get("limit") for config in configs} - {None}
    parts = [
        joined(run.dataset for run in runs),
        joined(run.network for run in runs),
        f"width {joined(config.get('width', 'unknown') for config in configs)}",
        *([f"first {joined(limits)} training images"] if limits else []),
        f"{joined(config.get('epochs', 'unknown') for config in configs)} epochs",
    ]
    if measured:
        protocol = aggregates[0].protocol
        images = {s.n for run in runs for s in of_protocol(run.scores, protocol)}
        parts += [f"protocol {protocol}"]
        parts += [f"{joined(sorted(images)) or 'no'} test images"]
    parts.append(f"{joined(sorted({a.seeds for a in aggregates} - {0}))} seed(s)")
    if len(there) < len(aggregates):
        parts.append(f"{len(there)} of {len(aggregates)} rows")
    return f"{', '.join(parts)}; {joined(map(machine, runs))}"


def of_evaluations(evaluations):
    """Returns what all evaluations share, and the values of what they do not.

    Args:
        evaluations: list of `nfm_keras.records.evaluation.Evaluation`.
    """
    scores = [score for evaluation in evaluations for score in evaluation]
    protocols = sorted({score.protocol for score in scores} - {NO_PROTOCOL})
    attacked = sorted({s.n for s in scores if ids.kind(s.perturbation) in ATTACKS})
    others = sorted({s.n for s in scores if ids.kind(s.perturbation) not in ATTACKS})
    corrupted = [s for s in scores if ids.kind(s.perturbation) in NAMES]
    sources = sorted({score.settings["source"] for score in corrupted})
    synthetic = any(score.settings.get("frost") == "synthetic" for score in corrupted)
    parts = [
        joined(evaluation.dataset for evaluation in evaluations),
        *([f"protocol {joined(protocols)}"] if protocols else []),
        *([f"{joined(others)} test images"] if others else []),
        *([f"{joined(attacked)} attacked"] if attacked else []),
        *([f"corruptions {joined(sources)}"] if sources else []),
        *(["frost synthetic"] if synthetic else []),
    ]
    return f"{', '.join(parts)}; {joined(map(machine, evaluations))}"


def joined(values):
    """Returns values as text, each once.

    Example:

    >>> joined([1000, 500, 1000])
    '1000 and 500'
    """
    return " and ".join(dict.fromkeys(map(str, values)))


def machine(made):
    """Returns what something was made on: its accelerators, or else its CPU.

    Args:
        made: `Record` or `Evaluation`.
    """
    accelerators = made.hardware.get("accelerators") or ()
    return ", ".join(accelerators) or str(made.hardware.get("cpu", "unknown"))
