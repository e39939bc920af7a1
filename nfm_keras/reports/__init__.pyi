from . import pictures as pictures
from . import suite as suite
from .aggregate import Aggregate as Aggregate
from .page import write_pages as write_pages
from .runs import find as find
from .runs import read as read
from .runs import write as write
from .runs import write_experiment as write_experiment
