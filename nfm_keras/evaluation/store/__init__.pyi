from .reasons import StoreWarning as StoreWarning
from .store import Store as Store
