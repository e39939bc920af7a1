from .outputs import cut_to as cut_to
from .outputs import pick as pick
from .reading import first as first
from .reading import read as read
