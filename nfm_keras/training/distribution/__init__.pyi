from .engine import DISTRIBUTIONS as DISTRIBUTIONS
from .engine import Engine as Engine
from .engine import check as check
from .engine import scaled_rate as scaled_rate
from .engine import start as start
