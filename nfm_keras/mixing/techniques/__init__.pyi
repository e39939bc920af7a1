from .adversarial import Adversarial as Adversarial
from .base import Batch as Batch
from .base import Technique as Technique
from .cutmix import CutMix as CutMix
from .losses import SmoothedCrossentropy as SmoothedCrossentropy
from .noisymix import NoisyMix as NoisyMix
from .puzzlemix import PuzzleMix as PuzzleMix
