"""Models, tokenizers, chat templates and losses, shared by training and evaluation."""
