"""The gateways that messages leave through, one file each."""
