"""What the SMPP gateway is made of: SMPP 3.4 as an ESME speaks it, over one connection that sends and hears."""
