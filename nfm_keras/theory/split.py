"""A network cut in two at a site: f = f_k(g_k(x)), and the derivatives of f_k."""

from functools import partial

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from nfm_keras.backend import heads, keras_private
from nfm_keras.backend.gradients import compiled, hessian_product, value_and_grad
from nfm_keras.backend.inner import network_of
from nfm_keras.checks import check_count, unknown
from nfm_keras.mixing.places import check_all_pass
from nfm_keras.types import Tensor


class Split:
    """The two halves of a functional model at a site, in inference mode.

    Features are handled as rows: `(n, d)` with d the number of features of one image,
    float64 outside of the network.

    Args:
        model: Functional or Sequential model that gives logits `(n, K)`, or an
            `NFMModel`. K = 1 is the binary form, with the probability of class 1 a
            sigmoid of the logit.
        site: Name of a site, or of any layer that all features pass; `"input"` is
            the model's input.
        batch_size: int. Images a call of the network.

    Raises:
        ValueError: For a model without a graph, with several inputs or outputs, that
            ends in a softmax or sigmoid, or computes in half precision; for a name
            that no layer has.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    >>> Split(model, "input").features([[1.0, 2.0]])
    array([[1., 2.]])
    """

    def __init__(self, model: keras.Model, site: str, *, batch_size: int = 64) -> None:
        check_count("batch_size", batch_size)
        self._preprocess = getattr(model, "preprocess", None)
        model = network_of(model)
        _check_model(model)
        self.site, self.batch_size = site, batch_size
        place = model.inputs[0] if site == "input" else _features(model, site)
        self.before = keras.Model(model.inputs[0], place)
        self.after = keras.Model(place, model.outputs[0])
        self.shape = tuple(self.after.inputs[0].shape[1:])
        if None in self.shape:
            raise ValueError(
                "The features at a site must have a fixed shape. "
                f"Received: {self.shape} at {site!r}"
            )
        self.outputs = int(model.outputs[0].shape[-1])
        self._dtype = model.outputs[0].dtype
        known = self.after.variables
        # Objects of their own: TensorFlow counts a code's traces, and warns of many.
        first, second = (
            partial(half, training=False) for half in (self.before, self.after)
        )
        self._features = compiled(first, self.before.variables)
        self._logits = compiled(second, known)
        self._pullback = compiled(partial(self._gradient), known)
        self._curvature = compiled(partial(hessian_product(self._weighted)), known)

    def features(self, images: ArrayLike) -> np.ndarray:
        """Returns g_k(x), `(n, d)` float64.

        Args:
            images: `(n, ...)` as the model takes them, an `NFMModel` in `fit`: its
                `preprocess` comes first, and features at the input are what it gives.
        """
        given = np.asarray(images)
        if not len(given):
            raise ValueError("The theory needs images with labels. Received: none")
        if self._preprocess is not None:
            given = ops.convert_to_numpy(self._preprocess(given))
        rows = self._batched(self._features, given)
        return rows.reshape(len(given), -1)

    def logits(self, features: ArrayLike) -> np.ndarray:
        """Returns f_k(g), `(n, K)` float64.

        Args:
            features: `(n, d)`.
        """
        return self._batched(self._logits, self._shaped(features))

    def pullback(self, features: ArrayLike, weights: ArrayLike) -> np.ndarray:
        """Returns J^T w: gradients with respect to g of w . f_k(g).

        Args:
            features: `(n, d)`.
            weights: `(n, K)`, held constant.

        Returns:
            `(n, d)` float64.
        """
        found = self._batched(self._pullback, self._shaped(features), weights)
        return self._rows(found)

    def curvature(
        self, features: ArrayLike, weights: ArrayLike, vectors: ArrayLike
    ) -> np.ndarray:
        """Returns sum_c w_c H^c u, with H^c the Hessian of the c-th logit.

        Args:
            features: `(n, d)`.
            weights: `(n, K)`, held constant.
            vectors: `(n, d)`, the u of each image.

        Returns:
            `(n, d)` float64; 0 where f_k is piecewise linear.
        """
        given = self._shaped(features), self._shaped(vectors), weights
        return self._rows(self._batched(self._curvature, *given))

    def _weighted(self, features: Tensor, weights: Tensor) -> Tensor:
        return ops.sum(self.after(features, training=False) * weights, axis=-1)

    def _gradient(self, features, weights):
        fn = value_and_grad(lambda x, w: (self._weighted(x, w), x))
        return fn(features, weights)[2]

    def _shaped(self, features):
        return np.reshape(features, (-1, *self.shape))

    def _rows(self, found):
        if not np.all(np.isfinite(found)):
            raise ValueError(
                "The network must be differentiable at the site's features. Received: "
                f"derivatives that are not finite at {self.site!r}"
            )
        return found.reshape(len(found), -1)

    def _batched(self, fn, *arrays):
        """Calls on batches of one size, the last one filled up with its last row.

        Any other size would be compiled anew.
        """
        arrays = [np.asarray(array).astype(self._dtype) for array in arrays]
        n, results = len(arrays[0]), []
        size = self.batch_size
        for start in range(0, n, size):
            parts = [array[start : start + size] for array in arrays]
            missing = size - len(parts[0])
            full = [np.concatenate([p, np.repeat(p[-1:], missing, 0)]) for p in parts]
            found = ops.convert_to_numpy(fn(*full))[: size - missing]
            results.append(found.astype("float64"))
        return np.concatenate(results) if results else np.zeros((0, self.outputs))


def check_per_image(split, images):
    """Refuses a network whose logits of one image depend on the others, or on luck.

    Args:
        split: `Split`.
        images: `(n, ...)`; two of them are looked at.

    Raises:
        ValueError: For batch statistics in use at inference, or noise.
    """
    two = np.asarray(images)[:2]
    together = split.logits(split.features(two))
    twice = [split.features(np.stack([x, x])) for x in two]
    alone = np.concatenate([split.logits(g)[:1] for g in twice])
    scale = max(float(np.max(np.abs(together))), 1e-6)
    gap = float(np.max(np.abs(together - alone)))
    if not gap <= 1e-3 * scale:
        raise ValueError(
            "f_k must be a function of one image: batch statistics and dropout have "
            "to be in inference mode. Received: logits that differ by "
            f"{gap:.3g} when an image comes alone"
        )


def _features(model, site):
    """The features at a site in this graph: others may have the same layers."""
    names = [layer.name for layer in model.layers]
    if site not in names:
        raise unknown("site", site, ["input", *names])
    check_all_pass(model, [site])
    calls = keras_private.graph_calls(keras_private.graph_of(model))
    results = [given for operation, _, given in calls if operation.name == site]
    if len(results) != 1 or len(results[0]) != 1:
        raise ValueError(
            "A site must be called once and give one tensor of features. "
            f"Received: {site!r} with {sum(map(len, results))} tensors"
        )
    return results[0][0]


def _check_model(model):
    graph = isinstance(model, keras.Model) and getattr(model, "inputs", None)
    if not graph or len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            "The theory needs a functional or Sequential model of one input and one "
            f"output. Received: {type(model).__name__}"
        )
    shape, dtype = model.outputs[0].shape, model.outputs[0].dtype
    if len(shape) != 2 or shape[-1] is None:
        raise ValueError(f"The output must be logits (n, K). Received: shape {shape}")
    halves = {"float16", "bfloat16"}
    found = {layer.compute_dtype for layer in model.layers} & halves
    if found or dtype in halves:
        raise ValueError(
            "Second derivatives need float32 or float64. Received: a model that "
            f"computes in {', '.join(sorted(found | ({dtype} & halves)))}"
        )
    activation = getattr(model.layers[-1], "activation", None)
    name = getattr(activation, "__name__", "")
    name = heads.head(model) or (name if name == "log_softmax" else "")
    operation = type(keras_private.source(model.outputs[0])[0]).__name__
    name = name or {"Softmax": "softmax", "Sigmoid": "sigmoid"}.get(operation, "")
    if name:
        raise ValueError(
            "The loss must be of the form h(f) - y f of logits f. Received: a model "
            f"that ends in {name}; take its layer before"
        )
