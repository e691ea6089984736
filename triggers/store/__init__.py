"""Everything that survives a restart; the only folder with SQL."""
