from .check import Check as Check
from .check import to_markdown as to_markdown
from .check import to_table as to_table
from .check import verdict as verdict
from .checks import masking_report as masking_report
from .examined import EVERYTHING as EVERYTHING
