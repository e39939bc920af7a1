from .client import GrpcClient as GrpcClient
from .client import RestClient as RestClient
from .client import ServingError as ServingError
from .files import export_file as export_file
from .saved_model import classify as classify
from .saved_model import export as export
