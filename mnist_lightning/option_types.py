"""Numbers in a range: the command line refuses what lies outside before any work, and names the option."""

from typing import TYPE_CHECKING

from jsonargparse.typing import restricted_number_type

if TYPE_CHECKING:
    Degrees = float
    Percent = float
    ShearDegrees = float
    BelowOne = float
else:
    Degrees = restricted_number_type("Degrees", float, [(">=", 0), ("<=", 180)])
    Percent = restricted_number_type("Percent", float, [(">=", 0), ("<", 100)])
    ShearDegrees = restricted_number_type("ShearDegrees", float, [(">=", 0), ("<", 90)])
    BelowOne = restricted_number_type("BelowOne", float, [(">=", 0), ("<", 1)])
