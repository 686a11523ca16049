"""Formats of other tools, for `curate export`: a module for each family of them."""
