"""Carries commands out of the outbox through a gateway."""
