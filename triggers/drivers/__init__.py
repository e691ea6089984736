"""Wakes the core: here, embedded in one process."""
