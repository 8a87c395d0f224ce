"""Faults: what callers and reviewers see when a part dies, hangs, lies or runs full, and what was lost."""
