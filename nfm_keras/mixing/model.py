"""The model that trains with Noisy Feature Mixup."""

import contextlib

import keras
from keras import ops, tree
from keras.src.backend import get_keras_mask, set_keras_mask  # not public yet

from nfm_keras.mixing.draw import Mixing, interpolate
from nfm_keras.mixing.finite import guarded
from nfm_keras.mixing.scope import current_scope, mixing_scope
from nfm_keras.mixing.sites import insert_sites, remove_sites, site_layers
from nfm_keras.mixing.techniques.base import current_batch, prepared
from nfm_keras.training.distribution.engine import average_statistics


@keras.saving.register_keras_serializable(package="nfm_keras")
class NFMModel(keras.Model):
    """Trains a functional model with Noisy Feature Mixup in `fit`.

    Each training step draws a site, a weight lam, a partner for every sample
    and the noise, runs the forward pass with that site active, and takes the
    loss on labels mixed by the same draw. Everything else (`compile`, `fit`,
    `evaluate`, `predict`, callbacks, saving) is that of any Keras model, and
    evaluation, prediction and `classifier` never mix.

    *Labels.* Float targets (one-hot, regression) are interpolated. Integer
    labels are not: their loss is `lam * loss(y) + (1 - lam) * loss(y[partner])`,
    which for cross-entropy is the same number. `sample_weight` and
    `class_weight` are interpolated like the labels.

    *Metrics.* In training a metric `accuracy` is reported as `mixed_accuracy`:
    the lam-weighted mean of the metric on a sample's own label and on its
    partner's, which says little about how well the model classifies. Validation
    metrics keep their names and see clean data only.

    Args:
        model: Functional (or built Sequential) model that holds
            `NoisyFeatureMixup` layers, or any other together with `sites`.
        mixing: A `Mixing`; `None` for the paper's defaults.
        sites: Names of layers after which to insert sites (`insert_sites`).
        seed: Integer. Every draw is a pure function of `(seed, step)`.
        preprocess: Optional layer that `fit`, `evaluate` and `predict` apply to
            the inputs and that is not part of `classifier`: say
            `keras.layers.Rescaling(1 / 255)`, so that uint8 images go to the
            device and the classifier takes [0, 1].
        technique: Optional `Technique`, what is done to the images before the forward
            pass: `CutMix`, `PuzzleMix`, `Adversarial`, `NoisyMix`.
        scheduled: Keep factors of alpha and the noise in variables, `levels`, for a
            `MixingSchedule` to change.
        skip_nonfinite: Whether a step with a loss or weights that are not finite is
            undone. It costs a copy of the weights and of the optimiser's.

    Attributes:
        model: The functional model with its sites.
        classifier: The plain model with the same weights: export this one.
        step: Counts the training steps; saved with the weights, so that a
            resumed run goes on with the draws it would have made.
        nonfinite: How many steps had a loss that is not finite, and the first such
            step. `nfm_keras.mixing.finite.FiniteLoss` is the callback that looks.

    Raises:
        ValueError: If the model has no sites (and `mixing` is not the
            identity), or a name in `sites` or `mixing.sites` is unknown.

    Example:

    >>> model = NFMModel(
    ...     keras.applications.ResNet50V2(weights=None, classes=10),
    ...     Mixing(alpha=1.0, sigma_add=0.4, sigma_mult=0.2),
    ...     sites=["input", "conv2_block3_out", "conv3_block4_out"],
    ... )
    >>> model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])

    Reference:
        [Lim et al., 2021](https://arxiv.org/abs/2110.02180), section 3.
    """

    def __init__(
        self,
        model,
        mixing=None,
        sites=None,
        seed=0,
        preprocess=None,
        technique=None,
        scheduled=False,
        skip_nonfinite=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.model = model if sites is None else insert_sites(model, sites)
        self.mixing = Mixing() if mixing is None else mixing
        self.seed = seed
        self.preprocess = preprocess
        self.technique = technique
        self.skip_nonfinite = skip_nonfinite
        # The optimizer's own choice of integer: int64 on TensorFlow, where int32
        # variables cannot live on a GPU, and int32 on JAX.
        self.step = self._add_state("step", (), "int", "zeros")
        self.nonfinite = self._add_state("nonfinite", (2,), "int", "zeros")
        self.levels = self._add_state("levels", (3,)) if scheduled else None
        if _runs_on_host(technique):
            self.supports_jit = False  # what Keras' jit_compile="auto" asks
        needs_sites = technique is None and not self.mixing.is_identity
        if needs_sites and not self.site_layers:
            raise ValueError(
                "The model has no site to mix at. Put NoisyFeatureMixup layers "
                "into it, or pass sites=[...] with names of its layers. "
                f"Received: model={model.name!r}, sites={sites}"
            )
        self.built = True

    def _add_state(self, name, shape, dtype="float32", initializer="ones"):
        return self.add_weight(
            shape=shape,
            dtype=dtype,
            initializer=initializer,
            trainable=False,
            name=name,
            aggregation="only_first_replica",
        )

    @property
    def jit_compile(self):
        return super().jit_compile

    # Not in `compile`, which Keras would then not call when it loads a model.
    @jit_compile.setter
    def jit_compile(self, value):
        if value and not self.supports_jit:
            raise ValueError(
                f"{type(self.technique).__name__} runs in part on the host, which XLA "
                "on TensorFlow cannot call: leave `jit_compile` at 'auto' or set it to "
                "False, or take the JAX backend. Received: jit_compile=True"
            )
        keras.Model.jit_compile.fset(self, value)

    @property
    def classifier(self):
        """The plain functional model, sharing the weights; built at each access."""
        return remove_sites(self.model)

    @property
    def site_layers(self):
        """List of the layers that may mix, in the order in which they are numbered."""
        return site_layers(self.model, self.mixing.sites)

    @property
    def output_names(self):
        return getattr(self.model, "output_names", None)

    def call(self, inputs, training=None):
        # What a technique prepared went through `preprocess` before.
        if current_batch() is None:
            inputs = self._preprocessed(inputs)
        return self.model(inputs, training=training)

    def train_step(self, *args):
        """One step of `fit`; TensorFlow and PyTorch pass `(data)`, JAX
        `(state, data)`."""
        logs = guarded(self, self._mixed_step, args)
        if keras.backend.backend() == "tensorflow":
            average_statistics(self.model)
        return logs

    def _mixed_step(self, *args):
        *state, data = args
        step, state = self._count_step(state)
        if self.mixing.is_identity and self.technique is None:
            return super().train_step(*state, data)
        layers = () if self.mixing.is_identity else self.site_layers
        batch_size = ops.shape(tree.flatten(data)[0])[0]
        count = max(1, len(layers))  # a technique needs no site
        with self._values_of(state):
            levels = self.current_levels()
        draw = self.mixing.draw(
            self.seed, step, batch_size, count, _replica_id(), levels
        )
        if self.technique is not None:
            return self._prepared_step(state, data, draw, layers)
        with mixing_scope(self.mixing, draw, layers):
            return super().train_step(*state, data)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        draw, batch = self._label_draw(), current_batch()
        outputs, y_pred = y_pred, _first_view(y_pred)
        if draw is not None and y is not None:
            y, y_pred, sample_weight = self._mix_labels(draw, y, y_pred, sample_weight)
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        if batch is None or batch.loss is None:
            return loss
        return loss + self._aggregate_additional_loss(batch.loss(outputs))

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        draw, y_pred = self._label_draw(), _first_view(y_pred)
        metrics = self._compile_metrics
        if draw is None or y is None or metrics is None:
            return super().compute_metrics(x, y, y_pred, sample_weight)
        self._update_mixed_metrics(draw, y, y_pred, sample_weight)
        mixed = set(metrics.result())
        return {
            f"mixed_{name}" if name in mixed else name: value
            for name, value in self.get_metrics_result().items()
        }

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "dtype": serialize(self.dtype_policy),
            "model": serialize(self.model),
            "mixing": self.mixing.get_config(),
            "seed": self.seed,
            "preprocess": self.preprocess and serialize(self.preprocess),
            "technique": self.technique and serialize(self.technique),
            "scheduled": self.levels is not None,
            "skip_nonfinite": self.skip_nonfinite,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        for name in ("model", "preprocess", "technique"):
            if config.get(name) is not None:
                config[name] = keras.saving.deserialize_keras_object(
                    config[name], custom_objects=custom_objects
                )
        return cls(mixing=Mixing(**config.pop("mixing")), **config)

    def _count_step(self, state):
        """Returns the step's number, and JAX's `state` with the next one."""
        if keras.backend.backend() != "jax":
            step = ops.convert_to_tensor(self.step.value) + 0
            self.step.assign(step + 1)
            return step, state
        # On JAX the variable holds what it held when the step was traced; the
        # value is in the state, at the variable's own position.
        (trainable, fixed, *rest), fixed_variables = state[0], self._fixed_variables()
        fixed, position = list(fixed), fixed_variables.index(id(self.step))
        step, fixed[position] = fixed[position], fixed[position] + 1
        return step, [(trainable, fixed, *rest)]

    def _prepared_step(self, state, data, draw, layers):
        images, labels, weight = keras.utils.unpack_x_y_sample_weight(data)
        with self._values_of(state):
            images = self._preprocessed(images)
            labels = tree.map_structure(ops.convert_to_tensor, labels)
            batch = self.technique.prepare(self, images, labels, draw)
        data = keras.utils.pack_x_y_sample_weight(batch.images, labels, weight)
        scope = self.mixing, batch.site_draw, layers
        if batch.site_draw is None:
            scope = self.mixing, batch.draw, ()
        with prepared(batch), mixing_scope(*scope):
            return super().train_step(*state, data)

    def current_levels(self):
        """The factors that a `MixingSchedule` set, `(3,)`; `None` without one."""
        return None if self.levels is None else ops.convert_to_tensor(self.levels)

    def _preprocessed(self, inputs):
        return inputs if self.preprocess is None else self.preprocess(inputs)

    def _values_of(self, state):
        """On JAX the variables have the values that `state` holds."""
        if not state:
            return contextlib.nullcontext()
        trainable, fixed = state[0][:2]
        variables = [*self.trainable_variables, *self.non_trainable_variables]
        return keras.StatelessScope(list(zip(variables, [*trainable, *fixed])))

    def _fixed_variables(self):
        return [id(v) for v in self.non_trainable_variables]

    def _label_draw(self):
        """The draw in force, if it mixes labels (noise alone does not)."""
        scope, batch = current_scope(), current_batch()
        if not self.mixing.mixes or (scope is None and batch is None):
            return None
        return scope[1] if batch is None else batch.draw

    def _mix_labels(self, draw, y, y_pred, sample_weight):
        _check_labels(y)
        if sample_weight is not None:
            sample_weight = _map(lambda w: _interpolated(w, draw), sample_weight)
        if isinstance(y, dict) and isinstance(y_pred, dict):
            # By name: trees of PyTorch keep the order in which keys were inserted.
            pairs = {name: _is_class(y[name], y_pred.get(name)) for name in y}
        else:
            outputs = tree.flatten(y_pred)
            same = len(outputs) == len(tree.flatten(y))
            outputs = iter(outputs if same else [None] * len(tree.flatten(y)))
            pairs = tree.map_structure(lambda t: _is_class(t, next(outputs)), y)
        if not any(tree.flatten(pairs)):
            return _map(lambda t: _interpolated(t, draw), y), y_pred, sample_weight

        # Loss of a label, and loss of the partner's label, as one batch of
        # twice the size with the weights lam and 1 - lam.
        def mixed(t, pair):
            t = ops.convert_to_tensor(t)
            return _with_partner(t, draw) if pair else _twice(_interpolated(t, draw))

        if isinstance(y, dict):
            y = {name: mixed(y[name], pairs[name]) for name in y}
        else:
            y = tree.map_structure(mixed, y, pairs)
        weights = _pair_weights(draw, y_pred, sample_weight, self._pair_scale())
        return y, _map(lambda t: _twice(t, draw), y_pred), weights

    def _pair_scale(self):
        """A mean over twice the batch halves the sum of the weights."""
        reductions = {
            getattr(loss, "reduction", "mean") == "sum"
            for loss in tree.flatten(self.loss)
            if loss is not None
        }
        if len(reductions) > 1:
            raise ValueError(
                "With integer labels the losses must all be means or all be sums. "
                f"Received: loss={self.loss}"
            )
        return 1.0 if reductions == {True} else 2.0

    def _update_mixed_metrics(self, draw, y, y_pred, sample_weight):
        """`metrics` take no weights in Keras and lam has to reach them too."""
        metrics = self._compile_metrics
        if not metrics.built:
            metrics.build(y, y_pred)
        if sample_weight is not None:
            sample_weight = _map(lambda w: _interpolated(w, draw), sample_weight)
        y = _map(lambda t: _with_partner(t, draw), y)
        plain = _pair_weights(draw, y_pred, None)
        weighted = _pair_weights(draw, y_pred, sample_weight)
        y_pred = _map(lambda t: _twice(t, draw), y_pred)
        for all_metrics, weights in (
            (metrics._flat_metrics, plain),
            (metrics._flat_weighted_metrics, weighted),
        ):
            flat = (metrics._flatten_y(v) for v in (y, y_pred, weights))
            for metric, target, output, weight in zip(all_metrics, *flat):
                if metric is not None:
                    metric.update_state(target, output, weight)


def _runs_on_host(technique):
    """Whether a step leaves the graph, where that keeps XLA out."""
    on_host = technique is not None and technique.on_host
    return on_host and keras.backend.backend() == "tensorflow"


def _first_view(outputs):
    """The outputs for the labels' own view, where a technique made several."""
    batch = current_batch()
    if batch is None or batch.views == 1:
        return outputs
    return tree.map_structure(lambda t: t[: ops.shape(t)[0] // batch.views], outputs)


def _check_labels(y):
    for labels in tree.flatten(y):
        # keras.backend has no name for "a number", and no dtype for strings.
        dtype = str(getattr(labels, "dtype", type(labels).__name__))
        if not any(kind in dtype for kind in ("int", "float", "bool")):
            raise ValueError(
                "Labels must be numbers to be mixed: class numbers, one-hot vectors or "
                f"regression targets. Received: labels of dtype {dtype}"
            )


def _map(function, structure):
    return tree.map_structure(
        lambda t: None if t is None else function(ops.convert_to_tensor(t)), structure
    )


def _is_float(tensor):
    return keras.backend.is_float_dtype(keras.backend.standardize_dtype(tensor.dtype))


def _is_class(labels, output):
    """Whether labels are class numbers; they may come as floats, too."""
    if not _is_float(labels):
        return True
    if output is None or output.shape[-1] in (None, 1):
        return False
    rank = len(labels.shape)
    return rank < len(output.shape) or (
        rank == len(output.shape) and labels.shape[-1] == 1
    )


def _interpolated(tensor, draw):
    tensor = tensor if _is_float(tensor) else ops.cast(tensor, "float32")
    return interpolate(tensor, ops.take(tensor, draw.partner, axis=0), draw.lam)


def _with_partner(tensor, draw):
    return ops.concatenate([tensor, ops.take(tensor, draw.partner, axis=0)])


def _twice(tensor, draw=None):
    """A batch twice; with a draw, the second is for the partners' labels."""
    twice, mask = ops.concatenate([tensor, tensor]), get_keras_mask(tensor)
    if mask is not None:  # of padded time steps, of which a partner has its own
        other = mask if draw is None else ops.take(mask, draw.partner, axis=0)
        set_keras_mask(twice, ops.concatenate([mask, other]))
    return twice


def _pair_weights(draw, y_pred, sample_weight, scale=1.0):
    """lam and 1 - lam, as sample weights of twice the batch, for each output."""
    outputs = tree.flatten(y_pred)
    given = tree.flatten(sample_weight)
    given = given * len(outputs) if len(given) == 1 else given
    batch = ops.shape(outputs[0])[0]
    lam = ops.broadcast_to(draw.lam, (batch,))
    pair = scale * ops.concatenate([lam, 1 - lam])
    weights = [_weight(pair, out, w) for out, w in zip(outputs, given)]
    # In full: some metrics flatten their arguments, and Keras multiplies a mask into
    # the weights in place.
    weights = [
        w * ops.ones((2 * batch, *ops.shape(out)[1:-1]), w.dtype)
        for out, w in zip(outputs, weights)
    ]
    return tree.pack_sequence_as(y_pred, weights)


def _weight(pair, output, given):
    # Per-sample losses have the rank of the output less one; a weight of
    # another rank would be broadcast along the wrong axes.
    rank = max(len(output.shape) - 1, 1)
    weight = ops.reshape(pair, (-1,) + (1,) * (rank - 1))
    if given is None:
        return weight
    given = _twice(given)
    while len(given.shape) > rank and given.shape[-1] == 1:
        given = ops.squeeze(given, -1)
    if len(given.shape) > rank:
        raise ValueError(
            f"`sample_weight` must have at most {rank} axes for an output of shape "
            f"{output.shape}. Received: shape {given.shape}"
        )
    missing = rank - len(given.shape)
    if missing > 0:
        given = ops.reshape(given, (*ops.shape(given), *(1,) * missing))
    return weight * given


def _replica_id():
    if keras.backend.backend() != "tensorflow":
        return 0  # JAX and its distribution see one batch; PyTorch has one device
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return 0 if context is None else context.replica_id_in_sync_group
