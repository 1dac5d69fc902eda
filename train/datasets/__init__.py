"""Data sets by name: what there is, how each file is read, and getting one on the user's word."""
