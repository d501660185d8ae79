"""The parts of `python -m benchmarks search`, and the collection they stand on."""
