#!/usr/bin/env bash
# Ground: calibration of overconfident classifiers; temperature scaling, which scikit-learn
#   has since 1.8.
# Guess: float64 probabilities down to 1e-308 hold the logits, so that a classifier whose
#   logits were multiplied by 10, 40 or 1000 is brought back to the same calibrated one.
# Seen: that is so through decision_function. Through predict_proba everything below 2e-16
#   counts as that, and the temperature is another one: the calibrated likelihood is worse
#   the more confident the classifier was, and the probabilities are not those that fit.
# Versions: scikit-learn 1.9.1, numpy 2.4.6, scipy 1.17.1. Date: 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
cat > "$folder/check.py" <<'PYTHON'
import sys

import numpy as np
import sklearn
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import log_loss

print("scikit-learn", sklearn.__version__, "numpy", np.__version__)
N, CLASSES = 5000, 10


class Logits(ClassifierMixin, BaseEstimator):
    """Takes logits for features, and multiplies them."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, X):
        return X * self.factor

    def predict(self, X):
        return self.classes_[X.argmax(1)]


class Probabilities(Logits):
    decision_function = None

    def predict_proba(self, X):
        return softmax(X * self.factor, 1)


def calibrated_loss(kind, factor):
    fitted = FrozenEstimator(kind(factor).fit(logits, labels))
    scaled = CalibratedClassifierCV(fitted, method="temperature", ensemble=False)
    return log_loss(labels, scaled.fit(logits, labels).predict_proba(logits))


generator = np.random.default_rng(0)
logits = 2 * generator.normal(size=(N, CLASSES))
labels = np.array([generator.choice(CLASSES, p=p) for p in softmax(logits, 1)])
best = calibrated_loss(Logits, 1)
as_stated, losses = True, []
for factor in (1, 3, 10, 40, 1000):
    exact = calibrated_loss(Logits, factor)
    losses.append(calibrated_loss(Probabilities, factor))
    print(f"logits x {factor}: from logits {exact:.4f}, from probabilities {losses[-1]:.4f}")
    as_stated &= abs(exact - best) < 1e-4
as_stated &= max(losses[:2]) < best + 1e-4 and best + 0.03 < losses[2] < losses[3] - 0.1
print("as stated" if as_stated else "the behaviour has changed")
sys.exit(not as_stated)
PYTHON
"$folder/venv/bin/python" "$folder/check.py"
