"""The data room: from a source on the network or the disk to tokenised rows of each client."""
