from . import classifiers as classifiers
from .noise import DEFAULT as DEFAULT
from .noise import Perturbation as Perturbation
from .plan import SUITES as SUITES
from .plan import Suite as Suite
from .scoring import evaluate as evaluate
from .scoring import line as line
from .store import StoreWarning as StoreWarning
