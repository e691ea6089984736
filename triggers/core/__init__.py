"""Decides who is sent what and when: pure, without I/O, clock or randomness."""
