"""Engines: a base model and its adapters, in this process or behind HTTP."""

import os

# Weights are read once a token: in huge pages, a tenth faster. PyTorch asks before its first allocation.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
