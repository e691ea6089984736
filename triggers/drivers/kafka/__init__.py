"""The engine on many machines: Faust workers on Kafka, a dispatcher with its outbox, and what they say to each other."""
