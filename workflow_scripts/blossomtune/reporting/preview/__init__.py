"""Preview of tokenized rows: what the model reads and learns, token by token."""
