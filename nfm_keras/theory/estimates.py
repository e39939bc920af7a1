"""The values of Theorem 1's terms, and the expansion that they make."""

import dataclasses
import math
from typing import NamedTuple

from nfm_keras.theory.moments import MixingMoments


class Estimate(NamedTuple):
    """A value with its standard error, 0 where it is exact."""

    value: float
    error: float = 0.0


@dataclasses.dataclass(frozen=True)
class Regularizers:
    """The terms of equations (3) to (7) at one site, in nats.

    Attributes:
        site: Name of the site.
        loss: L_std, the plain loss.
        r1, r2, r3: Of mixing; m1 and m2 are in them.
        r2_add, r3_add: Of additive noise of mean square 1.
        r2_mult, r3_mult: Of multiplicative noise of mean square 1.
        moments: `MixingMoments`, what the terms of the noise are multiplied by.
        method: `"exact"`, `"estimate"` or `"finite"`.
    """

    site: str
    loss: float
    r1: Estimate
    r2: Estimate
    r3: Estimate
    r2_add: Estimate
    r3_add: Estimate
    r2_mult: Estimate
    r3_mult: Estimate
    moments: MixingMoments
    method: str

    @property
    def r2_total(self) -> Estimate:
        """R2~ = R2 + sigma_add^2 R2_add + sigma_mult^2 R2_mult, equation (3)."""
        return self._total(self.r2, self.r2_add, self.r2_mult)

    @property
    def r3_total(self) -> Estimate:
        """R3~, as R2~."""
        return self._total(self.r3, self.r3_add, self.r3_mult)

    def expansion(self, epsilon: float) -> float:
        """Returns L_std + epsilon R1 + epsilon^2 (R2~ + R3~), right to epsilon^3."""
        second = self.r2_total.value + self.r3_total.value
        return self.loss + epsilon * self.r1.value + epsilon**2 * second

    def _total(self, mix, add, mult):
        parts = (1, mix), (self.moments.add, add), (self.moments.mult, mult)
        used = [(factor, part) for factor, part in parts if factor]
        value = sum(factor * part.value for factor, part in used)
        error = math.hypot(*(factor * part.error for factor, part in used))
        return Estimate(value, error)
