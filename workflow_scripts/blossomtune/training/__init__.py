"""Local training of LoRA adapters."""
