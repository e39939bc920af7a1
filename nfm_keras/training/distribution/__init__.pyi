from .agreement import Agreement as Agreement
from .engine import Engine as Engine
from .launch import DISTRIBUTIONS as DISTRIBUTIONS
from .launch import check as check
from .launch import start as start
