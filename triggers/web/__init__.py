"""The HTTP side: ingest, health and metrics."""
