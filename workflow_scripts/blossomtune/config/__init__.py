"""What a user may say, and what of it each stage uses."""
