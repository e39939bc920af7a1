"""What a suite measures besides scores: certified radii and the masking report."""

import dataclasses

from nfm_keras.evaluation import masking, smoothing
from nfm_keras.evaluation.store.revisions import REVISIONS
from nfm_keras.records.ids import ATTACKS


def unused(subject, suite, store, radii):
    """Returns what a file has of them, for `Store.tell_unused`.

    Args:
        subject: `Subject`.
        suite: `Suite`.
        store: `Store`.
        radii: What `attacked` returned.

    Returns:
        List of `(name, wanted, stored)`.
    """
    earlier, listed = store.earlier, []
    for sigma in suite.sigmas:
        same = [one for one in earlier.certifications if one.get("sigma") == sigma]
        certified = _certification(subject, suite, sigma)
        listed.append((f"certified radii at {sigma}", certified, same))
    if suite.masking_limit:
        checks = list(earlier.checks)
        wanted = _report(subject, suite, radii)
        listed.append(("the masking report", wanted, checks))
    return [
        (name, wanted, [{key: one.get(key) for key in wanted} for one in stored])
        for name, wanted, stored in listed
    ]


def certify(subject, suite, store):
    """Measures radii by randomised smoothing, at each sigma of the suite.

    Args:
        subject: `Subject`.
        suite: `Suite`.
        store: `Store`.
    """
    images = subject.images[: suite.certify_limit]
    labels = subject.labels[: suite.certify_limit]
    for sigma in suite.sigmas:
        wanted = _certification(subject, suite, sigma)
        known = store.like("certifications", wanted)
        if known:
            store.add_certification(known[0])
            continue
        with store.timing(subject.classifier):
            radii = smoothing.certify(
                *(subject.classifier, images, labels),
                sigma=sigma,
                n=suite.certify_samples,
                seed=subject.seed,
                batch_size=subject.batch_size,
            )
        store.add_certification(as_json(radii) | wanted)


def attacked(planned):
    """Returns the radii of the l-infinity balls that an evaluation attacks, sorted.

    Args:
        planned: `Condition`s.

    Returns:
        List of floats below 0.5, where nothing is left; 8/255 alone where there is no
        such attack.
    """
    radii = {
        condition.severity
        for condition in planned
        if condition.kind in ATTACKS and not condition.kind.endswith("_l2")
    }
    return sorted(r for r in radii if 0 < r < masking.EVERYTHING) or [8 / 255]


def examine(subject, suite, store, radii):
    """Makes the gradient-masking report of the suite.

    Args:
        subject: `Subject`.
        suite: `Suite`.
        store: `Store`.
        radii: What `attacked` returned: where the report looks.
    """
    if not suite.masking_limit:
        return
    wanted = _report(subject, suite, radii)
    known = store.like("checks", wanted)
    if known:
        store.put(checks=known)
        return
    with store.timing(subject.classifier):
        checks = masking.masking_report(
            subject.classifier,
            subject.images[: suite.masking_limit],
            subject.labels[: suite.masking_limit],
            epsilon=radii,
            seed=subject.seed,
            batch_size=subject.batch_size,
        )
    store.put(checks=tuple(as_json(check) | wanted for check in checks))


def as_json(value):
    """Returns a frozen dataclass as a dict of JSON values."""
    values = dataclasses.asdict(value)
    return {k: v.tolist() if hasattr(v, "tolist") else v for k, v in values.items()}


def _certification(subject, suite, sigma):
    """What determines a certification."""
    return {
        "sigma": sigma,
        "n": suite.certify_samples,
        "images": len(subject.images[: suite.certify_limit]),
        "seed": subject.seed,
        "revision": REVISIONS["certification"],
    }


def _report(subject, suite, radii):
    """What determines a masking report."""
    return {
        "images": len(subject.images[: suite.masking_limit]),
        "radii": radii,
        "seed": subject.seed,
        "revision": REVISIONS["masking"],
    } | subject.stand_in
