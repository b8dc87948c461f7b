"""Commands that scripts of the workflow and the program ``blossomtune`` share."""
