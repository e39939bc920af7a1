"""What a user of a model expects of the `NFMModel` that wraps it."""

import numbers

from nfm_keras.backend import keras_private
from nfm_keras.checks import is_number
from nfm_keras.mixing.draw import Mixing
from nfm_keras.mixing.sites import find_sites, remove_sites


class Facade:
    """Base of `NFMModel`: its answers are those of the model inside, `self.model`."""

    @property
    def classifier(self):
        """The plain functional model, sharing the weights; built at each access."""
        return remove_sites(self.model)

    @property
    def inputs(self):
        return self.model.inputs

    @property
    def outputs(self):
        return self.model.outputs

    @property
    def input(self):
        return self.model.input

    @property
    def output(self):
        return self.model.output

    @property
    def input_shape(self):
        return self.model.input_shape

    @property
    def output_shape(self):
        return self.model.output_shape

    @property
    def output_names(self):
        return getattr(self.model, "output_names", None)

    @property
    def weights(self):
        """Those of the layers: `set_weights` leaves the counts of steps alone.

        `EarlyStopping(restore_best_weights=True)` would set them back otherwise, and
        later draws repeat earlier ones. Files of weights hold the counts.
        """
        own = {id(v) for v in (self.step, self.nonfinite, self.levels)}
        return [v for v in super().weights if id(v) not in own]

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
        keras_private.set_jit_compile(self, value)

    def get_layer(self, name=None, index=None):
        """Returns a layer of the model inside, by name or index."""
        return self.model.get_layer(name, index)

    def export(self, filepath, *args, **kwargs):
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

    def summary(self, *args, print_fn=None, **kwargs):
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

    def __repr__(self):
        sites = find_sites(self.model)
        return (
            f"<{type(self).__name__} name={self.name}, model={self.model!r}, "
            f"sites={sites}, mixing={self.mixing}, seed={self.seed}>"
        )


def check_arguments(mixing, seed):
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
