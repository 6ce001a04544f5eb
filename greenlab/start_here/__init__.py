"""Chapter 0, start here: the claims of the field, the first receipt, and what the book itself costs to run."""
