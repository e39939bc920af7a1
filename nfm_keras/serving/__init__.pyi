from . import server_check as server_check
from . import signatures as signatures
from .client import GrpcClient as GrpcClient
from .client import RestClient as RestClient
from .client import ServingError as ServingError
from .files import export_file as export_file
from .saved_model import classify as classify
from .saved_model import export as export
