"""Turns rule files into a rulebook, or into findings that name the place and the mend."""
