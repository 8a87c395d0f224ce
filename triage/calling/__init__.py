"""What callers send and are given: bodies, references, keys, deadlines, truths, evidence, the Open Inference Protocol."""
