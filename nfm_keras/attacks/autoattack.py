"""AutoAttack: a fixed set of attacks, each on what the ones before it left."""

import dataclasses
from typing import Any

import numpy as np

from nfm_keras.attacks import progress
from nfm_keras.attacks.apgd import APGD
from nfm_keras.attacks.attack import Attack, AttackResult, check_settings
from nfm_keras.attacks.fab import FAB
from nfm_keras.attacks.search import Search
from nfm_keras.attacks.square import Square
from nfm_keras.attacks.watch import Watch
from nfm_keras.checks import unknown

VERSIONS = ("standard", "rand")


class _CleanSearch(Search):
    """The stage before all others: which images are misclassified themselves."""

    def run(self):
        self.passes = self.attack.passes
        self.judge_clean()
        return self.result()


@dataclasses.dataclass(frozen=True)
class AutoAttack(Attack):
    """AutoAttack: an image is robust if none of a set of attacks breaks it.

    * `standard`: APGD on the cross-entropy, targeted APGD, FAB-T and Square, one after
      the other, each on the images that are still classified correctly. For classifiers
      that give the same logits each time.
    * `rand`: APGD on the cross-entropy and on the difference-of-logits ratio, with
      gradients averaged over `eot` passes and success judged by the mean probability
      over as many fresh ones, for all that looks broken once more at the end. For
      classifiers that stay random at inference.

    The number of broken images is that of the union of the single attacks.

    Args:
        epsilon: float. Radius of the ball, in units of [0,1] pixels. Published figures
            on CIFAR-10 are for 8/255 in `linf` and 0.5 in `l2`.
        norm: str. `"linf"` or `"l2"`.
        version: str. `"standard"` or `"rand"`.
        steps: int, of APGD and FAB. 100 is what the name AutoAttack stands for, and so
            are 5000 queries, 9 targets and an `eot` of 20: less is a weaker attack.
        queries: int, of Square.
        targets: int, of APGD-T and FAB-T, at most classes - 1.
        eot: int. Passes to average over in `rand`.
        last_row: bool, of Square: False for the windows of the authors' code.

    Raises:
        ValueError: If a setting is out of its range.

    Example:

    >>> from keras import ops
    >>> def classifier(images):
    ...     mean = ops.mean(images, (1, 2, 3))
    ...     return 10 * ops.stack([mean, 0.6 - mean], axis=1)
    >>> images = np.full((2, 3, 4, 1), [[[[0.2]]], [[[0.05]]]], "float32")
    >>> attack = AutoAttack(epsilon=0.2, steps=5, queries=10)
    >>> attack(classifier, images, [1, 1]).stages
    {'clean': 2, 'apgd_ce': 1, 'apgd_t': 1, 'fab_t': 1, 'square': 1}

    Reference: F. Croce and M. Hein, *Reliable evaluation of adversarial robustness with
    an ensemble of diverse parameter-free attacks*, ICML 2020, section 6.
    """

    epsilon: float = 8 / 255
    norm: str = "linf"
    version: str = "standard"
    steps: int = 100
    queries: int = 5000
    targets: int = 9
    eot: int = 20
    last_row: bool = True

    name = "autoattack"

    def __post_init__(self) -> None:
        check_settings(self, "steps", "queries", "targets", "eot")
        if self.version not in VERSIONS:
            raise unknown("version", self.version, VERSIONS)

    @property
    def passes(self) -> int:
        """Forward passes that judge a point."""
        return self.eot if self.version == "rand" else 1

    @property
    def settings(self) -> dict[str, Any]:
        """Everything besides epsilon that changes the result, for the record."""
        rand = self.version == "rand"
        unused = {"queries", "targets", "last_row"} if rand else {"eot"}
        if self.last_row:  # as of `Square`: records of before do not say it
            unused.add("last_row")
        given = super().settings
        return {name: given[name] for name in given if name not in unused}

    @property
    def attacks(self) -> tuple[Attack, ...]:
        """The single attacks, in their order."""
        ball: dict[str, Any] = {"epsilon": self.epsilon, "norm": self.norm}
        walk = {**ball, "steps": self.steps}
        if self.version == "rand":
            walk["eot"] = self.eot
            return APGD(**walk, loss="ce"), APGD(**walk, loss="dlr")
        return (
            APGD(**walk, loss="ce"),
            APGD(**walk, loss="targeted_dlr", targets=self.targets),
            FAB(**walk, targets=self.targets),
            Square(**ball, queries=self.queries, last_row=self.last_row),
        )

    def check(self, images: Any) -> None:
        """Refuses images that one of the single attacks cannot attack."""
        for attack in self.attacks:
            attack.check(images)

    def attacked(
        self, given: tuple, seed: int, batch_size: int
    ) -> tuple[AttackResult, Watch]:
        """Attacks every image, and warns of nothing; as for the other attacks.

        Returns:
            `(result, watch)`; the `stages` of the result hold how many images are still
            classified correctly: as they are (`"clean"`), and after each attack, by its
            name.
        """
        classifier, images, labels, indices = given
        search = _CleanSearch(
            self, classifier, images, labels, indices, seed, batch_size
        )
        result, watch = search.run(), search.watch
        points, broken, gradients = result.images, result.success, result.gradients
        stages = {"clean": int((~broken).sum())}
        for stage, attack in enumerate(self.attacks):
            left = np.flatnonzero(~broken)
            if len(left):
                some = classifier, images[left], labels[left], indices[left]
                what = f"{attack.name}: {len(left)} of {len(images)} stand"
                count = len(self.attacks)
                with progress.part(stage / count, (stage + 1) / count, what):
                    result, seen = attack.attacked(some, seed, batch_size)
                watch.join(left, seen)
                points[left], broken[left] = result.images, result.success
                gradients += result.gradients
                watch.met["square"][left] = (attack.name == "square") & result.success
                watch.refuse(self.id, broken)
            stages[attack.name] = int((~broken).sum())
        return AttackResult(points, broken, gradients, stages), watch
