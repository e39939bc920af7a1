from . import classifiers as classifiers
from .noise import DEFAULT as DEFAULT
from .noise import Perturbation as Perturbation
from .plan import SUITES as SUITES
from .plan import Suite as Suite
from .progress import line as line
from .scoring import evaluate as evaluate
from .store import StoreWarning as StoreWarning
