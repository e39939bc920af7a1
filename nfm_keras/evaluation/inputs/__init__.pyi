from .outputs import pick as pick
from .reading import read as read
