"""Places of a graph: which of them all features pass, which some path goes around."""

import itertools
from typing import NamedTuple

import keras

from nfm_keras.backend import keras_private


class Call(NamedTuple):
    """A layer or an operation at work in a graph; values are numbered through.

    Attributes:
        name: Path of the layer, that of nested models before it.
        inputs: Tuple of the values that it takes.
        outputs: Tuple of those that it gives.
        takes_site: Whether a site could be inserted after it.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    takes_site: bool


class Places:
    """The graph of a model, with the graphs of nested models laid open.

    Args:
        model: Functional or Sequential model.

    Example:

    >>> Places(network).bypass("block1_conv2")  # doctest: +SKIP
    'block1_add'
    """

    def __init__(self, model):
        graph = keras_private.graph_of(model)
        self._numbers = itertools.count()
        self.inputs = tuple(next(self._numbers) for _ in graph.inputs)
        self._input_names = [tensor.name for tensor in graph.inputs]
        self.calls = []
        self.outputs = self._lay_open(graph, "", self.inputs)

    def values(self, name):
        """Returns the values at a place: a layer's outputs, or a model's inputs.

        Args:
            name: Path of a layer; of a site inside of a layer that is no model, the
                path goes on.
        """
        found = {"input": self.inputs}
        found |= {call.name: call.outputs for call in self.calls}
        while name not in found:
            name, cut, _ = name.rpartition("/")
            if not cut:
                return ()
        return found[name]

    def bypass(self, name):
        """Returns where features go around a place; None if all pass it.

        Args:
            name: As in `values`.

        Returns:
            Name of the layer where those that went around come together with the
            others, or `"the outputs"`.
        """
        place = set(self.values(name))
        roots = set(self.inputs) & self._before(place)
        around = self._after(roots - place, place)
        if not around & set(self.outputs):
            return None
        passed = self._after(place, set())
        for call in self.calls:
            inputs = set(call.inputs)
            if inputs & around and inputs & passed:
                return repr(call.name)
        return "the outputs"

    def inputs_beside(self, name):
        """Returns the names of inputs that reach the outputs without a place.

        Args:
            name: As in `values`.

        Returns:
            List of str, of inputs that the place does not depend on.
        """
        place = set(self.values(name))
        known = self._before(place)
        return [
            own
            for own, value in zip(self._input_names, self.inputs)
            if value not in known and self._after({value}, place) & set(self.outputs)
        ]

    def passed_by_all(self):
        """Returns the layers that all features pass on their way to the outputs.

        In one walk through the graph, where `bypass` takes one for each place.

        Returns:
            List of paths, in the graph's order, of layers that a site fits behind.
        """
        needed = self._before(self.outputs)
        last_use = {value: len(self.calls) for value in self.outputs}
        for i, call in reversed(list(enumerate(self.calls))):
            if needed & set(call.outputs):
                for value in call.inputs:
                    last_use.setdefault(value, i)
        names = [call.name for call in self.calls]
        alive, passed = set(self.inputs), []
        for i, call in enumerate(self.calls):
            alive |= set(call.outputs) & needed
            alive = {value for value in alive if last_use[value] > i}
            unique = names.count(call.name) == 1
            if call.takes_site and unique and alive == set(call.outputs):
                passed.append(call.name)
        return passed

    def good_place_near(self, name):
        """Returns the next place that all features pass, by preference a later one.

        Args:
            name: As in `values`.
        """
        names = [call.name for call in self.calls]
        here = max((i for i, own in enumerate(names) if own == name), default=0)
        ends = set(self.outputs)
        for call in (*self.calls[here + 1 :], *self.calls[here::-1]):
            fits = call.takes_site and names.count(call.name) == 1
            if fits and not ends & set(call.outputs) and not self.bypass(call.name):
                return call.name
        return "input"

    def _lay_open(self, graph, prefix, inputs):
        """Adds the calls of a graph, and returns the values of its outputs."""
        values = {id(tensor): value for tensor, value in zip(graph.inputs, inputs)}
        for operation, taken, given in keras_private.graph_calls(graph):
            sources = tuple(values[id(tensor)] for tensor in taken)
            name = prefix + operation.name
            if given[0].dtype == "bool":
                name += " (mask)"  # a site is called with its mask, too
            inner = keras_private.graph_of(operation)
            if id(given[0]) in values:  # an input of the graph
                results = (values[id(given[0])],)
            elif inner is not None and len(inner.inputs) == len(sources):
                # What goes in is a place of its own: others may take it as well.
                entries = tuple(next(self._numbers) for _ in sources)
                self.calls.append(Call(f"{name}/input", sources, entries, False))
                results = self._lay_open(inner, f"{name}/", entries)
                sources = results  # the calls inside say what those come from
            else:
                if isinstance(operation, keras.layers.Bidirectional):
                    sources = self._both_ways(operation, name, sources)
                results = tuple(next(self._numbers) for _ in given)
            values |= {id(tensor): value for tensor, value in zip(given, results)}
            fits = _takes_site(operation, given)
            self.calls.append(Call(name, sources, results, fits))
        return tuple(values[id(tensor)] for tensor in graph.outputs)

    def _both_ways(self, wrapper, name, inputs):
        """Adds the two layers of a `Bidirectional`, neither of which sees the other."""
        pair = wrapper.forward_layer, wrapper.backward_layer
        values = next(self._numbers), next(self._numbers)
        for layer, value in zip(pair, values):
            self.calls.append(Call(f"{name}/{layer.name}", inputs, (value,), False))
        return values

    def _before(self, values):
        """All values that some are computed from, themselves included."""
        found = set(values)
        for call in reversed(self.calls):
            if found & set(call.outputs):
                found |= set(call.inputs)
        return found

    def _after(self, values, without):
        """All values that are computed from some, but for ways through others."""
        found = set(values)
        for call in self.calls:
            if found & set(call.inputs):
                found |= set(call.outputs) - without
        return found


def check_all_pass(model, names):
    """Refuses places that some path goes around.

    Args:
        model: Functional or Sequential model.
        names: Of the places, as in `Places.values`.

    Raises:
        ValueError: For such a place; a good one near by is named.
    """
    places = Places(model)
    for name in names:
        if joint := places.bypass(name):
            raise ValueError(
                "A site needs a place that all features pass, or the partner's label "
                f"counts without its features. Those of {name!r} come together at "
                f"{joint} with others that went around. Such a place near by is "
                f"{places.good_place_near(name)!r}; `allow_bypass=True` takes any. "
                f"Received: after={name!r}"
            )


def _takes_site(operation, outputs):
    is_layer = isinstance(operation, keras.Layer)
    return is_layer and all(keras.backend.is_float_dtype(x.dtype) for x in outputs)
