from .expansion import Expansion as Expansion
from .expansion import check_expansion as check_expansion
from .moments import Powers as Powers
from .moments import powers as powers
from .split import Split as Split
from .terms import Estimate as Estimate
from .terms import Regularizers as Regularizers
from .terms import regularizers as regularizers
