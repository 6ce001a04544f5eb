"""The skeleton of a new chapter: ``make chapter NAME=retrieval``."""
