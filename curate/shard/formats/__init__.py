"""Formats of other tools for `curate export`, one module for each family."""
