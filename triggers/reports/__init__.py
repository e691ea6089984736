"""The read side: why a customer got a message or did not."""
