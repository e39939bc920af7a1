"""What makes an attack's failures doubtful: counted while it runs, said at its end.

An attack that finds no gradient fails on a robust image and on any other alike. So
whoever looks robust because of that is counted, and warned of; where no image had a
gradient at all there is no result, but an error.
"""

import warnings

import numpy as np

from nfm_keras.attacks.doubts import DOUBTS
from nfm_keras.backend.ascent import NOT_FINITE, USABLE
from nfm_keras.backend.heads import remedy
from nfm_keras.data.labels import are_shares

ENOUGH = 32
"""Rows of logits that look like something else by more than chance."""

_SHARE_OF_SQUARE = 0.002  # as AutoAttack's authors have it
_FEW, _SHARE_AT_BOUND, _FLAT = 3, 0.1, 0.05


class AttackWarning(UserWarning):
    """Robustness that is too high for some images, because the attack was hindered."""


class Watch:
    """What an attack met on the way, image by image.

    Args:
        n: int, how many images there are.
        from_logits: bool. False for logs of probabilities, which have a largest one.
        cross_entropy: bool. Whether all that is followed is the cross-entropy.
    """

    def __init__(self, n, from_logits=True, cross_entropy=False):
        self.from_logits, self.cross_entropy = from_logits, cross_entropy
        self.met = {name: np.zeros(n, bool) for name in DOUBTS}
        self.asked, self.usable = np.zeros(n, bool), np.zeros(n, bool)
        self.top = np.full((n, 2), np.nan)  # the last logits' largest, and its class
        self.rows, self.low, self.high = 0, np.inf, -np.inf

    def see(self, where, logits, lost):
        """Takes note of logits.

        Args:
            where: Indices of the images.
            logits: `(batch, classes)` array.
            lost: `(batch,)` bool array, from `PlainClassifier.lost`.
        """
        self.top[where] = np.stack([logits.max(axis=1), logits.argmax(axis=1)], axis=1)
        self._meet("underflow", where, lost)
        if self.cross_entropy and logits.shape[1] > 2:
            self._meet("flat", where, np.ptp(logits, axis=1) < _FLAT)
        self.rows += len(logits)
        self.low = min(self.low, logits.min(initial=np.inf))
        self.high = max(self.high, logits.max(initial=-np.inf))

    def follow(self, where, health):
        """Takes note of gradients.

        Args:
            where: Indices of the images.
            health: `(batch,)`, as of `nfm_keras.backend.ascent.checked`.
        """
        usable = (health & USABLE) > 0
        self.asked[where] = True
        np.logical_or.at(self.usable, where, usable)
        self._meet("no_gradient", where, ~usable)
        self._meet("not_finite", where, (health & NOT_FINITE) > 0)

    def _meet(self, doubt, where, met):
        # An image may stand there several times.
        np.logical_or.at(self.met[doubt], where, met)

    @classmethod
    def of_all(cls, n, parts):
        """Returns one `Watch` of a set that was attacked in parts, or again and again.

        Args:
            n: int, how many images the set has.
            parts: list of `(where, Watch)`: which images, a slice or their indices.
        """
        first = parts[0][1]
        watch = cls(n, first.from_logits, first.cross_entropy)
        for where, part in parts:
            watch.join(where, part)
        return watch

    def join(self, where, other):
        """Takes over what a `Watch` of some of the images saw."""
        for name, met in other.met.items():
            self.met[name][where] |= met
        self.asked[where] |= other.asked
        self.usable[where] |= other.usable
        self.top[where] = other.top
        self.rows += other.rows
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    def refuse(self, name, broken):
        """Refuses a result that rests on no gradient at all.

        Args:
            name: str, the id of the attack.
            broken: `(n,)` bool array.

        Raises:
            ValueError: If gradients were asked for, no image had one, and some are
                unbroken.
        """
        if broken.all() or not self.asked.any() or self.usable.any():
            return
        spoilt, asked = int(self.met["not_finite"].sum()), int(self.asked.sum())
        what = f"not finite for {spoilt}, 0 for the others" if spoilt else "0 for all"
        raise ValueError(
            f"{name} needs a gradient: without one it says nothing of robustness. Look "
            "for what cuts it off (stop_gradient, detach, no_grad, rounding, integers, "
            "NumPy, saturation) or spoils it (roots, powers at 0), or take `square`, "
            f"which asks for none. Received: a gradient {what} of {asked} images"
        )

    def tell(self, name, broken):
        """Warns of what makes the result doubtful.

        Args:
            name: str, the id of the attack.
            broken: `(n,)` bool array.

        Returns:
            dict from a name of `DOUBTS` to how many images are concerned.

        Raises:
            ValueError: As `refuse`.
        """
        self.refuse(name, broken)
        if self.from_logits:
            self.met["bounded"] = self._at_bound(broken)
        found = {
            doubt: int((met & (broken if doubt == "square" else ~broken)).sum())
            for doubt, met in self.met.items()
        }
        if found["square"] <= _SHARE_OF_SQUARE * len(broken):
            found["square"] = 0
        found = {doubt: count for doubt, count in found.items() if count}
        for doubt, count in found.items():
            warn(name, doubt, count, len(broken))
        return found

    def _at_bound(self, broken):
        """Which unbroken images have logits as of an activation that has bounds.

        All logits so far lie in [0,1], or many images have the largest of all, and not
        of one class, which may have a constant logit.
        """
        top, winner = self.top.T
        seen = ~broken & ~np.isnan(top)
        if not seen.any() or (self.rows >= ENOUGH and self.low >= 0 and self.high <= 1):
            return seen
        most = top[seen].max()
        bound = seen & (top >= most - 1e-6 * abs(most))
        enough = bound.sum() >= max(_FEW, _SHARE_AT_BOUND * seen.sum())
        several = len(np.unique(winner[bound])) > 1
        return bound if enough and several else np.zeros_like(seen)


class Shares:
    """Refuses logits that are the shares of a softmax, once enough rows have shown it.

    A softmax's, or those times a number: none is negative, and all rows have one sum.
    """

    def __init__(self):
        self.rows, self.possible, self.total = 0, True, None

    def see(self, logits):
        """Takes note of `(batch, classes)` logits.

        Raises:
            ValueError: If all so far were shares.
        """
        if not self.possible or not len(logits):
            return
        self.total = self.total or float(logits[0].sum())
        self.possible = bool(are_shares(logits, self.total).all())
        self.rows += len(logits)
        # A row of logits may pass by chance, so all rows so far are judged.
        if self.possible and self.rows >= ENOUGH:
            raise ValueError(
                "An attack needs logits: the gradient of a softmax vanishes where it "
                "is confident, and the attack would fail for that reason alone. Remove "
                f"the last activation, or {remedy(self.total)}. Received: "
                f"probabilities that sum to {self.total:.4g}"
            )


def warn(name, doubt, count, n):
    """Warns that a result is doubtful.

    Args:
        name: str, the id of the attack.
        doubt: str, one of `DOUBTS`.
        count: int, how many images are concerned.
        n: int, how many there are.
    """
    text = f"{name}: robustness may be too high: {count} of {n} images {DOUBTS[doubt]}"
    warnings.warn(text, AttackWarning, stacklevel=2)
