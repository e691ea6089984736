"""The whole product in one process on one SQLite file."""
