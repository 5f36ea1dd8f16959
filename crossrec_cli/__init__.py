"""crossrec: recommend from one category to the buyers of another."""

__version__ = "0.1.0"
