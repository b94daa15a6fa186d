"""A blind receiver: carrier, clock, timing, noise and likelihoods of a frame, step by step."""
