"""The model that trains with Noisy Feature Mixup."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops, tree

from nfm_keras.backend import keras_compiled, keras_private, replicas
from nfm_keras.backend.wrong_gradients import (
    soft_label_gradients,
    warn_of_wrong_training,
)
from nfm_keras.mixing.draw import Draw, Mixing
from nfm_keras.mixing.facade import (
    Facade,
    check_arguments,
    check_parts,
    mixing_beside,
    preprocessed,
    silenced,
    warn_of_bypasses,
)
from nfm_keras.mixing.finite import guarded
from nfm_keras.mixing.labels.loss import check_reductions, output_loss
from nfm_keras.mixing.labels.metrics import build_metrics, mixed_names, update_metrics
from nfm_keras.mixing.labels.pairs import label_mixing, weights_by_output
from nfm_keras.mixing.layer import NoisyFeatureMixup
from nfm_keras.mixing.scope import give_own_masks, mixing_scope
from nfm_keras.mixing.sites import insert_sites, site_layers
from nfm_keras.mixing.state import add_state, count_step, state_after, values_of
from nfm_keras.mixing.techniques.base import (
    Technique,
    current_batch,
    first_view,
    is_prepared,
    prepared,
    runs_on_host,
)
from nfm_keras.types import Tensor, Tensors


@keras.saving.register_keras_serializable(package="nfm_keras")
class NFMModel(Facade):
    """Trains a functional model with Noisy Feature Mixup in `fit`.

    Each training step draws a site, a weight lam, a partner for every sample
    and the noise, runs the forward pass with that site active, and takes the
    loss on labels mixed by the same draw. Everything else (`compile`, `fit`,
    `evaluate`, `predict`, callbacks, saving) is that of any Keras model, and
    evaluation, prediction and `classifier` never mix.

    To its user it is the model inside: `inputs`, `get_layer`, `weights`, `summary` and
    `export` are of that one.

    *Labels.* Float targets (one-hot, regression) are interpolated. Integer labels, and
    all labels of outputs with a mask, are not: their loss is `lam * loss(y) + (1 - lam)
    * loss(y[partner])`, whatever shape it has; for cross-entropy that is the same
    number. `sample_weight` and `class_weight` are interpolated like float labels.

    *Metrics.* In training a metric `accuracy` is reported as `mixed_accuracy`: the
    mean on own and on partners' labels, weighted by lam, which says little about how
    well the model classifies. Validation metrics see clean data only.

    Args:
        model: Functional (or built Sequential) model that holds
            `NoisyFeatureMixup` layers, or any other together with `sites`.
        mixing: A `Mixing`; `None` for the paper's defaults, without noise where the
            technique adds none.
        sites: Names of layers after which to insert sites (`insert_sites`).
        seed: Integer. Every draw is a pure function of `(seed, step)`.
        preprocess: Optional layer that `fit`, `evaluate` and `predict` apply to
            the inputs and that is not part of `classifier`: say
            `keras.layers.Rescaling(1 / 255)`, so that uint8 images go to the
            device and the classifier takes [0, 1].
        technique: Optional `CutMix`, `PuzzleMix`, `Adversarial` or `NoisyMix` of
            `nfm_keras.mixing.techniques`: what is done to images beforehand.
        scheduled: Keep factors of alpha and the noise in variables, `levels`, for a
            `MixingSchedule` to change.
        skip_nonfinite: Whether a step with a loss or weights that are not finite is
            undone. It costs a copy of the weights and of the optimiser's.

    Attributes:
        model: The functional model with its sites.
        classifier: The plain model with the same weights: export this one.
        step: Counts the training steps; saved with the weights, so that a
            resumed run goes on with the draws it would have made.
        nonfinite: After how many steps the mean loss of the epoch so far was not
            finite, and the first such step; `skip_nonfinite` counts single steps.
            `nfm_keras.training.FiniteLoss` is the callback that looks.

    Raises:
        ValueError: If the model has no sites (and `mixing` is not the
            identity), a name in `sites` or `mixing.sites` is unknown, `seed` is no
            integer or `mixing` no `Mixing`; for noise beside a technique that adds
            none, or a network of [0, 255] beside one that clips images to [0, 1].

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
        model: keras.Model,
        mixing: Mixing | None = None,
        sites: Sequence[str] | None = None,
        seed: int = 0,
        preprocess: keras.Layer | None = None,
        technique: Technique | None = None,
        scheduled: bool = False,
        skip_nonfinite: bool = False,
        **kwargs: Any,
    ) -> None:
        # The network casts its inputs itself; its policy says if the loss is scaled.
        policy = getattr(model, "dtype_policy", None)
        super().__init__(autocast=False, **({"dtype": policy} | kwargs))
        self.mixing = mixing_beside(technique) if mixing is None else mixing
        check_arguments(self.mixing, seed)
        self.model = model if sites is None else insert_sites(model, sites)
        self.seed = int(seed)
        self.preprocess = preprocess
        self.technique = technique
        self.skip_nonfinite = skip_nonfinite
        # "int" is int64 on TensorFlow, where int32 cannot live on a GPU.
        self.step = add_state(self, "step", (), "int", "zeros")
        self.nonfinite = add_state(self, "nonfinite", (2,), "int", "zeros")
        self.levels = add_state(self, "levels", (3,)) if scheduled else None
        if runs_on_host(technique):
            self.supports_jit = False  # what Keras' jit_compile="auto" asks
        check_parts(self.mixing, self.model, technique, preprocess)
        if self.mixing.mixes:
            warn_of_bypasses(self.model, self.mixing.sites)
        warn_of_wrong_training(self.model)
        self.built = True

    @property
    def site_layers(self) -> list[NoisyFeatureMixup]:
        """List of the layers that may mix, in the order in which they are numbered."""
        return site_layers(self.model, self.mixing.sites)

    def call(self, inputs: Tensors, training: bool | None = None) -> Tensors:
        # What its technique prepared went through `preprocess` before.
        if not is_prepared(self):
            inputs = preprocessed(self.preprocess, inputs, training)
        outputs = self.model(inputs, training=training)
        give_own_masks(outputs)
        return outputs

    def train_step(self, *args: Tensors) -> Tensors:
        """Trains on one batch.

        Args:
            *args: What Keras passes: `data` on TensorFlow and PyTorch, `state, data`
                on JAX.

        Returns:
            What Keras expects: the logs, on JAX `(logs, state)`.
        """
        check_reductions(self.loss)
        logs = guarded(self, self._mixed_step, args)
        replicas.average_statistics(self.model)
        return logs

    def make_train_function(self, force: bool = False) -> None:
        """Compiles the training step; what Keras calls before it trains."""
        make = super().make_train_function
        keras_private.build_before_training(self, lambda: make(force))

    def _mixed_step(self, *args):
        *state, data = args
        step, state = count_step(self, state)
        if self.mixing.is_identity and self.technique is None:
            return super().train_step(*state, data)
        # An optional input may be None.
        known = next(part for part in tree.flatten(data) if part is not None)
        batch_size = ops.shape(known)[0]
        with values_of(self, state):
            levels = self.current_levels()
        draw = self.draw_at(step, batch_size, levels, replicas.replica_id())
        layers = () if self.mixing.is_identity else self.site_layers
        if self.technique is not None:
            return self._prepared_step(state, data, draw, layers)
        with mixing_scope(self.mixing, draw, layers, site_layers(self.model)):
            return super().train_step(*state, data)

    def compute_loss(
        self,
        x: Tensors = None,
        y: Tensors = None,
        y_pred: Tensors = None,
        sample_weight: Tensors = None,
        training: bool = True,
    ) -> Tensor:
        batch, outputs, y_pred = current_batch(), y_pred, first_view(y_pred)
        keras_compiled.wrap_losses(self, self._output_loss)
        weight = weights_by_output(sample_weight, y_pred, self.output_names)
        with soft_label_gradients():
            loss = super().compute_loss(x, y, y_pred, weight, training)
        if batch is None or batch.loss is None:
            return loss
        return loss + keras_compiled.additional_loss(self, batch.loss(outputs, weight))

    def compute_metrics(
        self, x: Tensors, y: Tensors, y_pred: Tensors, sample_weight: Tensors = None
    ) -> dict[str, Any]:
        mixing, y_pred = label_mixing(self.mixing), first_view(y_pred)
        sample_weight = weights_by_output(sample_weight, y_pred, self.output_names)
        metrics = keras_compiled.compiled_metrics(self)
        if self.mixing.mixes:
            build_metrics(metrics, y, y_pred)
        if mixing is None or y is None or metrics is None:
            return super().compute_metrics(x, y, y_pred, sample_weight)
        update_metrics(metrics, mixing, y, y_pred, sample_weight)
        return mixed_names(metrics, self.get_metrics_result())

    def draw_at(
        self,
        step: Tensor,
        batch_size: Tensor,
        levels: Tensor = None,
        replica: Tensor = 0,
    ) -> Draw:
        """Draws what the training step of a number draws.

        Args:
            step: Integer or scalar integer tensor, counted from 0.
            batch_size: Integer, or scalar tensor on TensorFlow.
            levels: `(3,)`, as `current_levels` returns them; `None` for those.
            replica: As in `Mixing.draw`.

        Returns:
            A `Draw`; `site` counts through `site_layers`.
        """
        # A technique needs no site.
        count = 1 if self.mixing.is_identity else max(1, len(self.site_layers))
        levels = self.current_levels() if levels is None else levels
        return self.mixing.draw(self.seed, step, batch_size, count, replica, levels)

    def current_levels(self) -> Tensor:
        """Returns the factors that a `MixingSchedule` set.

        Returns:
            float32 `(3,)`, of alpha and beta, the noise, and `probability`, or `None`.
        """
        return None if self.levels is None else ops.convert_to_tensor(self.levels)

    def get_config(self) -> dict[str, Any]:
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
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> "NFMModel":
        config = dict(config)
        for name in ("model", "preprocess", "technique"):
            if config.get(name) is not None:
                config[name] = keras.saving.deserialize_keras_object(
                    config[name], custom_objects=custom_objects
                )
        mixing = config.pop("mixing") | silenced(config.get("technique"))
        return cls(mixing=Mixing(**mixing), **config)

    def _prepared_step(self, state, data, draw, layers):
        images, labels, weight = keras.utils.unpack_x_y_sample_weight(data)
        with values_of(self, state) as values:
            images = preprocessed(self.preprocess, images, training=True)
            state = state_after(self, state, values, self.preprocess)
            labels = tree.map_structure(ops.convert_to_tensor, labels)
            batch = self.technique.prepare(self, images, labels, draw)
        data = keras.utils.pack_x_y_sample_weight(batch.images, labels, weight)
        scope = batch.site_draw, layers
        if batch.site_draw is None:
            scope = batch.draw, ()
        known = site_layers(self.model)
        with prepared(batch, self), mixing_scope(self.mixing, *scope, known):
            return super().train_step(*state, data)

    def _output_loss(self, loss, *batch):
        return output_loss(loss, label_mixing(self.mixing), *batch)
