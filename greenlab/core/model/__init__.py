"""The small transformer, its training, its cost, and what is done to real decoders: surgery and scoring."""
