"""What training does to the quantities of the theory, epoch by epoch."""

from collections.abc import Sequence

import keras
import numpy as np
from numpy.typing import ArrayLike

from nfm_keras.checks import check_count, unique_names
from nfm_keras.mixing import find_sites
from nfm_keras.theory.labels import targets_of
from nfm_keras.theory.margin import margins_of
from nfm_keras.theory.split import Split


class SmoothnessLogger(keras.callbacks.Callback):
    """Logs Jacobian and Hessian norms by site, scores and margins.

    They go into `logs` at the end of epochs, and so into history and TensorBoard:
    `jacobian_norm/SITE`, the root mean square over images of the Frobenius norm of the
    Jacobian of the logits with respect to the features at a site; `hessian_norm/SITE`,
    the same of the Hessian of the logit of the image's class, which is 0 where the
    network is piecewise linear; `score` and `margin`, the medians of Definition 3 and
    of the linearised margin, which is no bound. The norms are estimated with random
    directions, in logits per unit, or squared unit, of the features. In the epochs
    between, the last values stand, since Keras' history expects each key every time.

    Args:
        images: `(n, ...)`, as the model takes them.
        labels: `(n,)` integers.
        sites: Names, or one; None for all sites of the model.
        limit: int. So many of the images are used, the first ones.
        probes: int, random directions an image.
        every: int, epochs.
        seed: int, of the directions, which are the same every time.

    Raises:
        ValueError: For counts that are not positive; and at the start of training as
            `regularizers`.

    Example:

    >>> from nfm_keras import networks
    >>> model = networks.mlp((2,), 2)
    >>> model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True))
    >>> x, y = np.eye(2), np.array([0, 1])
    >>> logger = SmoothnessLogger(x, y, sites=["site_0"])
    >>> history = model.fit(x, y, callbacks=[logger], verbose=0).history
    >>> sorted(history)
    ['hessian_norm/site_0', 'jacobian_norm/site_0', 'loss', 'margin', 'score']
    """

    def __init__(
        self,
        images: ArrayLike,
        labels: ArrayLike,
        *,
        sites: Sequence[str] | None = None,
        limit: int = 64,
        probes: int = 2,
        every: int = 5,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value in (("limit", limit), ("probes", probes), ("every", every)):
            check_count(name, value)
        self._images = np.asarray(images)[:limit]
        self._labels = np.asarray(labels)[:limit]
        if not 0 < len(self._images) == len(self._labels):
            raise ValueError(
                "There must be images, and a label for each. Received: "
                f"{len(np.asarray(images))} images, {len(np.asarray(labels))} labels"
            )
        self._names = None if sites is None else unique_names(sites)
        self._probes, self._every = probes, every
        self._seed = seed
        self._splits: list[Split] = []
        self._last: dict[str, float] = {}

    def go_on(self, history: dict[str, list[float]]) -> None:
        """Takes the last values of a run that is gone on with, to stand until the next.

        Args:
            history: Name -> values of all epochs so far, as in `History.history`.
        """
        norms = "jacobian_norm/", "hessian_norm/"
        own = {n for n in history if n.startswith(norms) or n in ("score", "margin")}
        self._last = {name: history[name][-1] for name in own if history[name]}

    def on_train_begin(self, logs: dict | None = None) -> None:
        names = find_sites(self.model) if self._names is None else self._names
        self._splits = [Split(self.model, name) for name in names]
        self._whole = Split(self.model, "input")

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if epoch % self._every == 0 or not self._last:
            self._last = self._measured()
        if logs is not None:
            logs.update(self._last)

    def _measured(self):
        found = {}
        for split in self._splits:
            jacobian, hessian = self._norms(split)
            found[f"jacobian_norm/{split.site}"] = jacobian
            found[f"hessian_norm/{split.site}"] = hessian
        whole = margins_of(self._whole, self.model, self._images, self._labels)
        found["score"] = float(np.median(whole.scores))
        found["margin"] = float(np.median(whole.linearised))
        return found

    def _norms(self, split):
        rng = np.random.default_rng(self._seed)
        g = split.features(self._images)
        own = targets_of(self._labels, split.outputs, least=1)
        own = np.ones_like(own) if split.outputs == 1 else own
        squares = np.zeros(2)
        for _ in range(self._probes):
            signs = rng.choice([-1.0, 1.0], size=own.shape)
            ways = rng.choice([-1.0, 1.0], size=g.shape)
            found = split.pullback(g, signs), split.curvature(g, own, ways)
            squares += [np.mean(np.sum(part**2, axis=1)) for part in found]
        return (float(value) for value in np.sqrt(squares / self._probes))
