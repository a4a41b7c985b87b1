"""A candidate that tries everything, and says of each attempt how it ended."""

import files
import kernel
import network
import processes
from common import neighbour, report

report(files.PROBES + processes.PROBES + network.PROBES + kernel.PROBES)
try:
    neighbour("release")
except OSError:
    pass
