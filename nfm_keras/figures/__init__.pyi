from .accuracy import accuracy_curves as accuracy_curves
from .corruptions import corruption_bars as corruption_bars
from .corruptions import heat_map as heat_map
from .images import adversarial_examples as adversarial_examples
from .images import sample_sheet as sample_sheet
from .robustness import certified_curves as certified_curves
from .robustness import reliability_diagram as reliability_diagram
from .training import histories as histories
