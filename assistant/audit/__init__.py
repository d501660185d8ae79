"""The transparency log: every answer is an entry, written before the answer is released."""
