"""Rounds of training: server, clients, aggregation, and the adapter that travels between them."""
