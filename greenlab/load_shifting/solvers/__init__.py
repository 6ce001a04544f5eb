"""How each policy finds its hours: one file a kind of job and limit."""
