"""Chat with the base model and the federated model in a terminal."""
