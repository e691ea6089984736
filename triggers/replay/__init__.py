"""Runs the core over a recorded log in virtual time, in memory."""
