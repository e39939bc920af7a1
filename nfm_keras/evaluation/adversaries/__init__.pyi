from .activating import Activating as Activating
from .activating import activating_images as activating_images
from .matrix import Transfer as Transfer
from .matrix import transfer as transfer
from .radii import BreakingRadii as BreakingRadii
from .radii import breaking_radii as breaking_radii
from .saved import Saved as Saved
