"""The algorithms that choose hours and regions: one file for each kind of job and limit."""
