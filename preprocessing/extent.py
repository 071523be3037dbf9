"""The range of raw values."""

from elboflow.settings import Settings


class Extent(Settings):
    """The minimum and the maximum of finite raw values, and whether all values are whole numbers."""

    low: float
    high: float
    whole: bool

    def merged(self, other: "Extent") -> "Extent":
        """Returns the extent of the union of both sets of values."""
        return Extent(low=min(self.low, other.low), high=max(self.high, other.high), whole=self.whole and other.whole)

    def __str__(self) -> str:
        if self.low == self.high:
            return f"all values are {number(self.low)}"
        return f"the values lie between {number(self.low)} and {number(self.high)}" + (
            "" if self.whole else ", not all of them whole"
        )


def number(value: float) -> str:
    """Returns a number for messages: 255 rather than 255.0, at most four significant digits of a fraction."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else f"{value:.4g}"
