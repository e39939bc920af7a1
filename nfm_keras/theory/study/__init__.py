"""What the theory says of given classifiers, and of itself, as records to draw from."""
