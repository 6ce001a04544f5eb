"""The skeleton of a new chapter: ``make chapter NAME=green_service``."""
