from .saved import Saved as Saved
