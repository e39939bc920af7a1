"""A classifier in inference mode, compiled once and fed batches of one size."""

import functools
import time

import keras
import numpy as np
from keras import ops

from nfm_keras.backend import heads
from nfm_keras.backend.gradients import compiled, takes_any_size
from nfm_keras.backend.inner import call_foreign, check_inference, classifier_of
from nfm_keras.backend.unit_range import unit_range


class PlainClassifier:
    """A classifier in inference mode, with every function of it compiled once.

    Calling it runs the classifier with `training=False`, so that nothing mixes, drops
    out or updates statistics. `logits` does the same, compiled. Wrap a classifier once
    and reuse the wrapper: its compiled functions are kept with it and go with it.
    `seconds` is the time spent in them (on an accelerator, until the result is asked
    for, only that of starting them).

    Args:
        classifier: Keras model or layer, or any callable, from images `(batch, height,
            width, channels)` in [0,1] to logits `(batch, classes)`, or one that
            `unit_range` makes such a one; or a
            `PlainClassifier`, whose compiled functions are then shared.
        from_logits: bool. False where the classifier gives probabilities, by a softmax
            or sigmoids: it is then their logarithm that it is taken to give, the log
            of the odds for sigmoids. None to see it from a Keras model's last layer,
            and to take anything else for logits.
        stand_in: Keras model or callable of the same images and outputs that has a
            gradient where the classifier has none, as where it rounds: gradients are
            its own, logits those of the classifier (backward pass differentiable
            approximation, Athalye et al., ICML 2018).
        places: tuple of int, the logits to keep, in this order: those of the classes of
            a set that has fewer; None for all.

    Attributes:
        from_logits: bool.
        head: str, the last activation, as `heads.head` sees it.
        stand_in, places: As given.

    Raises:
        TypeError: If `classifier` cannot be called.
        ValueError: If it or the stand-in is a module in training mode. On a call, if it
            gives several outputs, or cannot take tensors of the backend.

    Example:

    >>> classifier = PlainClassifier(lambda images: -images)
    >>> print(ops.convert_to_numpy(classifier.logits([[0.25, 1.0]])))
    [[-0.25 -1.  ]]
    """

    def __init__(self, classifier, from_logits=None, stand_in=None, places=None):
        if isinstance(classifier, PlainClassifier):
            stand_in = classifier.stand_in if stand_in is None else stand_in
            places = classifier.places if places is None else places
            same = stand_in is classifier.stand_in and places == classifier.places
            if same and from_logits in (None, classifier.from_logits):
                self.__dict__ = classifier.__dict__
                self._check_mode()
                return
            classifier = classifier.classifier
        if not callable(classifier):
            raise TypeError(
                "`classifier` must be a Keras model or a function from images to "
                f"logits. Received: {classifier!r}"
            )
        self.classifier, self.stand_in = unit_range(classifier), stand_in
        self._check_mode()
        self.places = places
        self.head = heads.head(classifier_of(classifier))
        self.from_logits = not self.head if from_logits is None else bool(from_logits)
        self.seconds = 0.0
        self._functions = {}

    def _check_mode(self):
        for part in (self.classifier, self.stand_in):
            check_inference(part)

    def __call__(self, images):
        logits = self.forward(images)
        if self.stand_in is None:
            return logits
        smooth = self._run(self.stand_in, images)
        # Exactly the classifier's logits, with the gradient of the stand-in.
        return ops.stop_gradient(logits) + (smooth - ops.stop_gradient(smooth))

    def forward(self, images):
        """Returns the logits alone, without the gradient of a stand-in."""
        return self._run(self.classifier, images)

    def _run(self, classifier, images):
        if isinstance(classifier, keras.Layer):
            logits = classifier(images, training=False)
        else:
            logits = call_foreign(classifier, images)
        if isinstance(logits, (dict, list, tuple)):
            names = sorted(logits) if isinstance(logits, dict) else range(len(logits))
            raise ValueError(
                "The classifier gives several outputs: name the one of the logits, by "
                "output=..., or by nfm_keras.evaluation.inputs.pick(classifier, name) "
                f"for an attack. Received: {list(names)}"
            )
        if not self.from_logits:
            logits = heads.logits_of(logits, self.head)
        # Half-precision networks: their loss would underflow as they grow confident.
        logits = ops.cast(logits, "float32")
        return logits if self.places is None else ops.take(logits, self.places, axis=-1)

    def shares(self, logits):
        """Returns logits whose softmax is what it says of the classes: for calibration.

        Args:
            logits: `(batch, classes)` array of this classifier's.
        """
        return heads.shares_of(logits, "" if self.from_logits else self.head)

    def lost(self, logits):
        """Returns which images have a probability that rounds to 0, or to 1.

        Args:
            logits: `(batch, classes)` array of this classifier's.

        Returns:
            `(batch,)` bool array; all False where the classifier gives logits. What is
            rounded there has no gradient.
        """
        if self.from_logits:
            return np.zeros(len(logits), bool)
        return (np.abs(logits) >= heads.FAR).any(axis=1)

    @property
    def input_shape(self):
        """Tuple, the shape of one image; None where the classifier does not say."""
        shape = getattr(self.classifier, "input_shape", None)
        return tuple(shape[1:]) if isinstance(shape, tuple) else None

    def logits(self, images):
        """Returns the logits of a batch of images, by the compiled classifier.

        Args:
            images: `(batch, height, width, channels)` in [0,1].

        Returns:
            float32 tensor `(batch, classes)`.
        """
        return self.compiled(_logits)(images)

    def logits_of(self, images, size=None):
        """Returns the logits of a batch as an array.

        The batch is filled up with copies of its last image, so that one shape is
        compiled however many images are left.

        Args:
            images: `(batch, height, width, channels)`, uint8 or float in [0,1].
            size: int, the batch to compile for; by default that of `images`.

        Returns:
            float32 `(batch, classes)` array.
        """
        images = np.asarray(images)
        scale = np.float32(255) if images.dtype == np.uint8 else None
        images = images.astype("float32", copy=False)
        images = images if scale is None else images / scale
        size = max(size or 0, len(images))
        filled = images[np.minimum(np.arange(size), len(images) - 1)]
        return ops.convert_to_numpy(self.logits(filled))[: len(images)]

    def compiled(self, fn):
        """Returns a function for this classifier, compiled once.

        Args:
            fn: `fn(classifier, *tensors)`; the same object at each call, or it is
                compiled anew.

        Returns:
            Function of `tensors`.
        """
        if fn not in self._functions:
            parts = self.classifier, self.stand_in
            known = (v for part in parts for v in getattr(part, "variables", ()))
            variables = list({id(variable): variable for variable in known}.values())
            run = compiled(functools.partial(fn, self), variables)
            self._functions[fn] = functools.partial(self._timed, run)
        return self._functions[fn]

    def _timed(self, run, *args):
        started = time.perf_counter()
        results = run(*args)
        self.seconds += time.perf_counter() - started
        return results


def padded_size(n, batch_size):
    """Returns how many rows a batch of few images is filled up to.

    Args:
        n: int, images at hand.
        batch_size: int, most images of a batch.

    Returns:
        n itself where a backend takes any size; else the smallest of batch_size / 32,
        8, 4, 2, 1 that holds n: few sizes are compiled, and a batch that is nearly
        empty does not cost a full one.
    """
    if takes_any_size():
        return n
    sizes = (-(-batch_size // parts) for parts in (32, 8, 4, 2, 1))
    return next(size for size in sizes if size >= n)


def arrays_of(classifier):
    """Returns the arrays that a classifier computes with, as far as they show.

    Args:
        classifier: Keras model or layer, module of TensorFlow or PyTorch, pytree of
            JAX, or any object with a list `variables`.

    Returns:
        List of tensors and variables in a fixed order; empty for a function.

    Example:

    >>> len(arrays_of(keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])))
    2
    """
    if isinstance(classifier, keras.Layer):
        return classifier.weights
    if callable(getattr(classifier, "named_buffers", None)):
        named = (*classifier.named_parameters(), *classifier.named_buffers())
        return [tensor for _, tensor in named]
    for name in ("weights", "variables"):
        variables = getattr(classifier, name, None)
        if isinstance(variables, (list, tuple)) and variables:
            return list(variables)
    return _leaves(classifier) if keras.backend.backend() == "jax" else []


def _leaves(classifier):
    import jax

    leaves = jax.tree_util.tree_leaves(classifier)
    return [leaf for leaf in leaves if hasattr(leaf, "dtype")]


def _logits(classifier, images):
    return classifier.forward(images)
