"""What this machine brings, one fact a line, each that is wrong with what to do.

The facts are pure functions of what was read; `machine` alone reads. It knows nothing of a particular
engine: that is `trident.engines.preflight`, whose `Fact` is used here too.
"""

from trident.doctor.examination import examine
from trident.doctor.machine import Machine, read_machine

__all__ = ["Machine", "examine", "read_machine"]
