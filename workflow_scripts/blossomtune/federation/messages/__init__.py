"""Encode and decode the messages between server and clients."""
