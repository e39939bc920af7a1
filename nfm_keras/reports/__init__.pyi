from .aggregate import Aggregate as Aggregate
from .runs import find as find
from .runs import write as write
from .runs import write_experiment as write_experiment
