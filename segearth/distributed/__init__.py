"""Several processes on one work, on one machine or many: how they start, what they do together, how they end."""
