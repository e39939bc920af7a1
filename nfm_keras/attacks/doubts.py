"""What may make the result of an attack doubtful, in words: reports read them too."""

DOUBTS = {
    "no_gradient": "met points without a gradient",
    "not_finite": "met gradients that are not finite, of which the rest was followed",
    "underflow": "have probabilities that round to 0 or 1, which no logarithm brings "
    "back: attack the logits",
    "bounded": "have logits as an activation at the end leaves them, between 0 and 1 "
    "or stuck at the largest of all: attack what is before it, or say "
    "from_logits=False of probabilities",
    "flat": "have logits so close together that the cross-entropy weighs all other "
    "classes alike: judge by apgd_t",
    "square": "were broken by Square, which asks for no gradient, and by no attack "
    "that follows one: the gradient seems to be masked",
}
"""Why an attack that failed says little of an image; `square` of the others."""
