from .lines import line as line
from .meter import Meter as Meter
