"""What a user of a model expects of the `NFMModel` that wraps it."""

import numbers
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras

from nfm_keras.backend import keras_private
from nfm_keras.backend.inner import Trainer, image_shape
from nfm_keras.backend.unit_range import expects_bytes, other_range
from nfm_keras.checks import is_number
from nfm_keras.mixing.draw import Mixing
from nfm_keras.mixing.labels.metrics import in_order
from nfm_keras.mixing.places import Places
from nfm_keras.mixing.sites import find_sites, remove_sites, site_layers
from nfm_keras.mixing.techniques.base import Technique
from nfm_keras.types import Shapes, StrPath, Tensors


class Facade(Trainer, keras.Model):
    """Base of `NFMModel`: its answers are those of the model inside, `self.model`."""

    @property
    def classifier(self) -> keras.Model:
        """The plain functional model, sharing the weights; built at each access."""
        return remove_sites(self.model)

    @property
    def inputs(self) -> list:
        return self.model.inputs

    @property
    def outputs(self) -> list:
        return self.model.outputs

    @property
    def input(self) -> Tensors:
        return self.model.input

    @property
    def output(self) -> Tensors:
        return self.model.output

    @property
    def input_shape(self) -> Shapes:
        return self.model.input_shape

    @property
    def output_shape(self) -> Shapes:
        return self.model.output_shape

    @property
    def output_names(self) -> list[str] | None:
        return getattr(self.model, "output_names", None)

    @property
    def weights(self) -> list:
        """Those of the layers: `set_weights` leaves the counts of steps alone.

        `EarlyStopping(restore_best_weights=True)` would set them back otherwise, and
        later draws repeat earlier ones. Files of weights hold the counts.
        """
        own = {id(v) for v in (self.step, self.nonfinite, self.levels)}
        return [v for v in super().weights if id(v) not in own]

    @property
    def jit_compile(self) -> bool | str:
        return super().jit_compile

    # Not in `compile`, which Keras would then not call when it loads a model.
    @jit_compile.setter
    def jit_compile(self, value: bool | str) -> None:
        if value and not self.supports_jit:
            raise ValueError(
                f"{type(self.technique).__name__} runs in part on the host, which XLA "
                "on TensorFlow cannot call: leave `jit_compile` at 'auto' or set it to "
                "False, or take the JAX backend. Received: jit_compile=True"
            )
        keras_private.set_jit_compile(self, value)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Trains on one batch, as `keras.Model.train_on_batch`.

        It returns a list in the order of `metrics`, mixed ones too, or a dict.
        """
        given = x, y, sample_weight, class_weight
        logs = super().train_on_batch(*given, return_dict=True)
        if return_dict:
            return logs
        values = in_order(self.metrics, logs)
        return values[0] if len(values) == 1 else values

    def get_layer(
        self, name: str | None = None, index: int | None = None
    ) -> keras.Layer:
        """Returns a layer of the model inside, by name or index."""
        return self.model.get_layer(name, index)

    def export(self, filepath: StrPath, *args: Any, **kwargs: Any) -> None:
        """Exports the classifier: `Model.export` of the model without its sites.

        It takes what the model inside takes, without the `preprocess` of `fit`.

        Args:
            filepath: As in `keras.Model.export`.
            *args: As there.
            **kwargs: As there.
        """
        inside = keras_private.graph_of(self.model)
        model = self.model if inside is None else self.classifier
        model.export(filepath, *args, **kwargs)

    def summary(
        self, *args: Any, print_fn: Callable | None = None, **kwargs: Any
    ) -> None:
        """Prints the summary of the model inside, and how it is mixed.

        Args:
            *args: As in `keras.Model.summary`.
            print_fn: As there.
            **kwargs: As there.
        """
        self.model.summary(*args, print_fn=print_fn, **kwargs)
        sites = ", ".join(find_sites(self.model)) or "none"
        lines = f"Sites: {sites}\nMixing: {self.mixing}"
        (print_fn or print)(lines)

    def __repr__(self) -> str:
        sites = find_sites(self.model)
        return (
            f"<{type(self).__name__} name={self.name}, model={self.model!r}, "
            f"sites={sites}, mixing={self.mixing}, seed={self.seed}>"
        )


def warn_of_bypasses(model: Any, names: Sequence[str] | None = None) -> None:
    """Warns of sites that some path of their graph goes around.

    Args:
        model: Model with sites; one without a graph is not looked at.
        names: Which sites; `None` for all.
    """
    sites = {
        name: layer
        for name, layer in zip(find_sites(model), site_layers(model))
        if not layer.allow_bypass and (names is None or name in names)
    }
    graph = keras_private.graph_of(model)
    if not sites or graph is None:
        return
    places = Places(graph)
    for name in sites:
        if joint := places.bypass(name):
            warnings.warn(
                f"Some features go around the site {name!r} and come together with "
                f"those that it mixed at {joint}: not mixed, though the label is. A "
                f"place that all pass is after {places.good_place_near(name)!r}. Else "
                "the site may take all tensors, as a list, or `allow_bypass=True`",
                stacklevel=3,
            )
        elif beside := places.inputs_beside(name):
            warnings.warn(
                f"The site {name!r} leaves the inputs {beside} unmixed, not the label. "
                "Put it where they have come together, or give `allow_bypass=True`",
                stacklevel=3,
            )


def check_arguments(mixing: Any, seed: Any) -> None:
    """Refuses what a step could not draw from.

    Args:
        mixing: What should be a `Mixing`.
        seed: What should be an integer.

    Raises:
        ValueError: Naming the argument.
    """
    if not isinstance(mixing, Mixing):
        raise ValueError(f"`mixing` must be a Mixing. Received: mixing={mixing!r}")
    if not is_number(seed, numbers.Integral):
        raise ValueError(
            "`seed` must be an integer, since every draw is a function of it and of "
            f"the step. Received: seed={seed!r}"
        )


def preprocessed(
    layer: Callable | None, inputs: Tensors, training: bool | None
) -> Tensors:
    """Returns the inputs of a network as its `preprocess` makes them.

    Args:
        layer: The layer, or `None` where there is none.
        inputs: Structure of tensors.
        training: Whether the layer is to act as in training, as random ones do.
    """
    if layer is None:
        return inputs
    if not isinstance(layer, keras.Layer):  # a function
        return layer(inputs)
    # On JAX a step runs `Model.call` itself, so that Keras hands nothing on.
    return layer(inputs, training=training)


def silenced(technique: Technique | None) -> dict[str, Any]:
    """Returns the fields of `Mixing` that are 0 beside a technique.

    Args:
        technique: `Technique`, or `None`. One that cuts images adds no noise; models of
            before this was refused may have been saved with some.
    """
    cuts = technique is not None and technique.cuts
    return {"sigma_add": 0.0, "sigma_mult": 0.0} if cuts else {}


def mixing_beside(technique: Technique | None) -> Mixing:
    """Returns the `Mixing` of a model that was given none.

    Args:
        technique: `Technique`, or `None`.
    """
    return Mixing(**silenced(technique))


def check_parts(
    mixing: Mixing,
    model: keras.Model,
    technique: Technique | None,
    preprocess: Callable | None = None,
) -> None:
    """Refuses parts that do not go together.

    Args:
        mixing: `Mixing`.
        model: The network, with its sites.
        technique: `Technique`, or `None`.
        preprocess: What comes before the technique.

    Raises:
        ValueError: As `NFMModel` does.
    """
    # Asked for in any case: a name that is no site's is refused.
    layers = site_layers(model, mixing.sites)
    if technique is not None:
        _check_technique(technique, mixing, model, preprocess)
    elif not (layers or mixing.is_identity):
        raise ValueError(
            "The model has no site to mix at. Put NoisyFeatureMixup layers into it, or "
            "pass sites=[...] with names of its layers. "
            f"Received: model={model.name!r}"
        )
    if mixing.site_weights is not None:
        _check_site_weights(mixing, find_sites(model))


def _check_site_weights(mixing, names):
    """Refuses weights that would be taken for those of other sites."""
    chosen = [name for name in names if mixing.sites is None or name in mixing.sites]
    if mixing.sites is not None and list(mixing.sites) != chosen:
        raise ValueError(
            "Sites that have `site_weights` must be named in the order of the graph, "
            f"{chosen}. Received: sites={list(mixing.sites)}"
        )
    mixing.check_weight_count(len(chosen))


def _check_technique(technique, mixing, model, preprocess):
    """Refuses noise that would not be added, and images that would be destroyed."""
    name = type(technique).__name__
    if technique.cuts and (mixing.sigma_add or mixing.sigma_mult):
        raise ValueError(
            f"{name} cuts images and adds no noise: pass Mixing(sigma_add=0, "
            f"sigma_mult=0). Received: sigma_add={mixing.sigma_add}, "
            f"sigma_mult={mixing.sigma_mult}"
        )
    range_ = other_range(preprocess, image_shape(model)) if technique.clips else ""
    if range_:
        raise ValueError(
            f"{name} clips images to [0, 1], behind the `preprocess`: put what leads "
            "elsewhere into the network, as its first layer. Received: a `preprocess` "
            f"that leads to {range_}"
        )
    if technique.clips and expects_bytes(model):
        raise ValueError(
            f"{name} clips images to [0, 1]: leave the scaling out of the network, and "
            "pass it as preprocess=keras.layers.Rescaling(1 / 255), say. Received: "
            f"{model.name!r}, a network of images in [0, 255]"
        )
