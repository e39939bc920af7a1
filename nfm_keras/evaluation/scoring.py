"""How robust a classifier is: perturbations in, one score each out."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nfm_keras.evaluation import calibration, extras
from nfm_keras.evaluation.adversaries import Saved
from nfm_keras.evaluation.masking import blind
from nfm_keras.evaluation.plan import Suite, conditions, named
from nfm_keras.evaluation.progress import Meter
from nfm_keras.evaluation.statistics import wilson_interval
from nfm_keras.evaluation.store import Store
from nfm_keras.evaluation.subject import LabelledImages, subject_of
from nfm_keras.records.answers import pack_classes
from nfm_keras.records.environment import environment
from nfm_keras.records.evaluation import Evaluation
from nfm_keras.records.ids import ATTACKS, kind
from nfm_keras.records.score import Score, pack
from nfm_keras.types import Classifier, PerturbationLike, StrPath


def evaluate(
    classifier: Classifier,
    dataset: LabelledImages | tuple[ArrayLike, ArrayLike] | Iterable[Any],
    perturbations: Sequence[PerturbationLike] | None = None,
    *,
    suite: str | Suite | None = None,
    protocol: str | None = None,
    seed: int = 0,
    batch_size: int = 250,
    limit: int | None = None,
    attack_limit: int | None = None,
    std: ArrayLike | None = None,
    allow_stochastic: bool = False,
    from_logits: bool | None = None,
    output: str | int | None = None,
    stand_in: Classifier | None = None,
    progress: bool | Callable[[Score, float], object] | None = None,
    store: StrPath | None = None,
    save_adversaries: StrPath | None = None,
    about: Mapping[str, str] | None = None,
) -> Evaluation:
    """Scores a classifier under each of a list of perturbations, or runs a suite.

    All randomness is drawn per image from (seed, perturbation, severity, image index),
    so batch size, order and Keras backend do not change what an image meets.

    Args:
        classifier: Keras model, or any callable, from [0,1] images
            `(batch, height, width, channels)` to logits `(batch, classes)`. It is run
            with `training=False` and compiled once.
        dataset: Object with `images` (`(n, height, width, channels)`, uint8 or float
            in [0,1]) and `labels` (`(n,)` integers), and perhaps a `spec` with `std`
            and `num_classes`; or a tuple `(images, labels)`. Or batches of such
            tuples: a `tf.data.Dataset`, `keras.utils.PyDataset`, PyTorch `DataLoader`
            or generator, which is read once, to `limit`, into a temporary file, so
            that memory does not grow with it. Labels may be one-hot rows. Photographs
            (`data.load("folder:PATH")`) are read a batch at a time; files that cannot
            be read are left out and named in `Evaluation.skipped`. Of a classifier of
            ImageNet's 1,000 classes, those of `imagenet_a` and `imagenet_r` are taken
            (`Evaluation.cut`).
        perturbations: List of ids (`"clean"`, `"white_noise@0.1"`, `"fog@3"`,
            `"pgd@8/255"`; a bare `"white_noise"`, `"fog"`, `"common_corruptions"` is
            all its severities), `Perturbation`s, `Corruption`s and attacks.
        suite: Instead of `perturbations`, `"quick"`, `"standard"` or `"full"`, or a
            `Suite` of one's own: perturbations with the settings of attacks, where
            corruptions come from, certification and a gradient-masking report.
        protocol: str. `"reference"` or `"pixel"`, for the noises; by default the first
            where a `std` is known, and else the second. Each score names its own.
        seed: int, of the noises and of the attacks' random starts.
        batch_size: int.
        limit: int. Score the first so many images only; by default as the suite.
        attack_limit: int. The same, for attacks.
        std: `(channels,)` of the training set in units of [0,1], by default the data
            set's; white noise in the reference protocol is measured in it.
        allow_stochastic: bool. Accept a classifier that changes between two passes;
            it is attacked by `autoattack`, in its version `rand`, and by PGD and APGD
            with an `eot` above 1; a named suite leaves out its other attacks.
        from_logits: bool. False for a classifier that gives probabilities, by a softmax
            or sigmoids: it is scored and attacked through their logarithm. By default
            seen from the last layer of a Keras model, and True for any other.
        output: str or int. Which output holds the logits, of a classifier with several:
            its name or place.
        stand_in: Keras model or callable like the classifier that has a gradient where
            the classifier has none, as where it rounds: attacks follow its gradient
            and are judged by the classifier.
        progress: By default a line says how far one is and how long the rest will take,
            where standard error is a terminal; False for silence, True for the line
            anywhere. A function is called as `progress(score, left)` besides, with each
            `Score` as it is ready and the seconds that the rest will take, roughly.
        store: Path of a JSON file that every score is written to at once. Scores that
            are in it already are not measured again, if they are known to be of this
            classifier, these images and settings, and this revision of our code;
            otherwise a `StoreWarning` says why not. Processes may share the file.
        save_adversaries: Path of a folder that gets the images each attack found
            (`evaluation.adversaries.Saved`); attacks whose images are not in it are
            measured again.
        about: dict of the `model`, `dataset` and `command` to write down. A function
            has nothing else than its `model` to be recognised by in a store.

    Returns:
        `Evaluation`: a sequence of `Score`, one for each perturbation in the same
        order, with all else that was measured. Accuracies are in percent, with Wilson
        95 % intervals. The protocol of a score that no protocol touches is `"none"`.
        A `Score` keeps with it what makes it doubtful, and an
        `nfm_keras.attacks.AttackWarning` says so.

    Raises:
        ValueError: For an unknown perturbation, suite or protocol, a bad severity,
            empty data, images out of range or of the wrong size, bad labels, logits
            that are not finite, a classifier that changes between two passes, an attack
            to which no image has a gradient, a store of another classifier or other
            images, a store for a function without a name, no `std` where it is needed.
            All that can be are noticed before any work; scores that are ready stay in
            the store.

    Example:

    >>> import keras
    >>> images = np.random.default_rng(0).random((4, 8, 8, 3), "float32")
    >>> def classifier(images):
    ...     return keras.ops.mean(images, axis=(1, 2)) * np.array([1.0, 2.0, 3.0])
    >>> scores = evaluate(classifier, (images, np.full(4, 2)), ["clean", "fgsm@0.2"])
    >>> [(score.perturbation, score.value) for score in scores]
    [('clean', 100.0), ('fgsm@0.2', 0.0)]
    """
    plan = _suite(perturbations, suite, limit=limit, attack_limit=attack_limit)
    planned = conditions(plan, stochastic=allow_stochastic)
    subject = subject_of(
        classifier,
        dataset,
        limit=plan.limit,
        std=std,
        batch_size=batch_size,
        protocol=protocol,
        seed=seed,
        stochastic=allow_stochastic,
        from_logits=from_logits,
        output=output,
        stand_in=stand_in,
        name=(about or {}).get("model", ""),
        saved=None if save_adversaries is None else Saved(save_adversaries),
    )
    for condition in planned:
        condition.check(subject)
    kept = Store(store, _begun(subject, plan, about or {}), subject)
    return _run(subject, plan, planned, kept, progress)


def _run(subject, plan, planned, kept, progress):
    """Measures what is not known yet; all was checked before."""
    scores = [_unmeasured(condition, subject) for condition in planned]
    costs = [c.passes * s.n for c, s in zip(planned, scores, strict=True)]
    meter, radii = Meter(costs, progress), extras.attacked(planned)
    kept.tell_unused(scores, extras.unused(subject, plan, kept, radii))
    with meter.busy("is the gradient masked?"):
        extras.examine(subject, plan, kept, radii)
    _measure(subject, planned, scores, kept, meter)
    kept.replace_scores(blind.compared(kept.evaluation.scores))
    with meter.busy("certified radii"):
        extras.certify(subject, plan, kept)
    return kept.evaluation


def _suite(perturbations, suite, **limits) -> Suite:
    if (perturbations is None) == (suite is None):
        raise ValueError(
            "Give either `perturbations` or `suite`. "
            f"Received: perturbations={perturbations!r}, suite={suite!r}"
        )
    if suite is None:
        suite = Suite(perturbations)
    elif not isinstance(suite, Suite):
        suite = named(suite)
    given = {name: limit for name, limit in limits.items() if limit is not None}
    return dataclasses.replace(suite, **given)


def _begun(subject, suite, about):
    """The evaluation before anything is measured: what, of what, where."""
    versions, hardware = environment()
    return Evaluation(
        model=about.get("model", "model"),
        dataset=about.get("dataset", "images"),
        images=subject.fingerprint,
        probe=np.vectorize(_short, [float])(subject.probe).tolist(),
        weights=subject.identity.weights,
        structure=subject.identity.structure,
        std=[] if subject.std is None else np.asarray(subject.std, float).tolist(),
        stochastic=subject.stochastic,
        suite=suite.name,
        command=about.get("command", ""),
        versions=versions,
        hardware=hardware,
        skipped=subject.skipped,
        cut=subject.cut,
    )


def _measure(subject, planned, scores, store, meter):
    for index, (condition, score) in enumerate(zip(planned, scores, strict=True)):
        ready = _known(subject, condition, score, store)
        if not ready:
            with store.timing(subject.classifier), meter.busy(condition.id, index):
                ready = measured(condition, subject, score)
            meter.count(index, ready.seconds)
            if subject.saved:
                subject.saved.finish(ready, store.evaluation)
        if condition.severity == 0:
            store.put(reliability=_reliability(subject, store))
            store.put(**_answers(subject, store))
        store.add_score(ready)
        meter.ready(index, ready)


def _known(subject, condition, score, store):
    """A score that was measured before, with its images where they are to be saved."""
    ready = store.score_like(score)
    missing = ready and subject.saved and kind(condition.id) in ATTACKS
    if missing and not subject.saved.holds(ready, store.evaluation):
        return None
    return ready


def _reliability(subject, store):
    """How sure the classifier is of the clean images, and how often right."""
    known = store.evaluation.reliability or store.earlier.reliability
    if sum(known.get("counts", ())) == len(subject.labels):
        return known
    shares = subject.classifier.shares(subject.clean_logits)
    clean = calibration.reliability(shares, subject.labels)
    return extras.as_json(clean)


def _answers(subject, store):
    """The true class of each clean image, and the one that the classifier gives it."""
    fields = {"classes": subject.classes, "labels": pack_classes(subject.labels)}
    earlier = store.earlier
    if earlier.predicted and earlier.labels == fields["labels"]:
        return fields | {"predicted": earlier.predicted}
    predicted = subject.clean_logits.argmax(axis=1)
    return fields | {"predicted": pack_classes(predicted)}


def _unmeasured(condition, subject):
    """The score of a condition, but for what is to be measured."""
    return Score(
        perturbation=condition.id,
        severity=condition.severity,
        protocol=condition.protocol(subject),
        value=0.0,
        low=0.0,
        high=100.0,
        n=len(condition.labels(subject)),
        correct=0,
        seed=subject.seed,
        seconds=0.0,
        settings=condition.settings(subject) | condition.origin,
        revision=condition.revision,
    )


def measured(condition, subject, score):
    """Returns a score with what was measured filled in.

    Args:
        condition: `PerturbationLike`.
        subject: `Subject`.
        score: `Score` of the same condition, still empty.
    """
    started = time.perf_counter()
    right, details = condition.measure(subject)
    seconds, correct = time.perf_counter() - started, int(right.sum())
    low, high = wilson_interval(correct, score.n)
    return dataclasses.replace(
        score,
        value=100.0 * correct / score.n,
        low=low,
        high=high,
        correct=correct,
        seconds=seconds,
        hits=pack(right),
        **details,
    )


def _short(value):
    """As many digits as single precision has."""
    return float(f"{value:.7g}")
