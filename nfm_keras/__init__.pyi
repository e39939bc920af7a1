from . import attacks as attacks
from . import backend as backend
from . import corruptions as corruptions
from . import data as data
from . import evaluation as evaluation
from . import experiments as experiments
from . import figures as figures
from . import mixing as mixing
from . import networks as networks
from . import records as records
from . import reports as reports
from . import serving as serving
from . import theory as theory
from . import training as training
from .backend.unit_range import unit_range as unit_range
from .evaluation import Suite as Suite
from .evaluation import evaluate as evaluate
from .mixing import (
    Draw as Draw,
)
from .mixing import (
    Mixing as Mixing,
)
from .mixing import (
    NFMModel as NFMModel,
)
from .mixing import (
    NoisyFeatureMixup as NoisyFeatureMixup,
)
from .mixing import (
    find_sites as find_sites,
)
from .mixing import (
    insert_sites as insert_sites,
)
from .mixing import (
    mixing_scope as mixing_scope,
)
from .mixing import (
    remove_sites as remove_sites,
)
from .mixing import (
    site_layers as site_layers,
)
from .serving import load_model as load_model

__version__: str
