"""The parts of the engine benchmark: each yields the figures of one question, and can be run alone."""
