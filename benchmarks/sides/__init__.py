"""The sides of the engine benchmark: this project's engine and what it is measured against.

Every side takes the same calls and gives the same record of tokens and times, so that one reading of a
record serves all.
"""
