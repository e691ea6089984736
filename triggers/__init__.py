"""A trigger engine for automatic lifecycle messages."""

__version__ = "0.1.0"
