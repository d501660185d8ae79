"""Figures the project holds itself to: `python -m benchmarks NAME`, one JSON object a line.

Each benchmark is a module with `run(options) -> Iterator[Figure]`. This package measures; nothing of the
assistant imports it.
"""
