"""The experiment in two dimensions: what regularisers do to a decision boundary."""
