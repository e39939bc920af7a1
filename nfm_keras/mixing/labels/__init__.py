"""How the labels and weights of a step are mixed, for its losses and its metrics."""
