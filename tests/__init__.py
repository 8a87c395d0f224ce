"""Tests and benchmarks. A package, because a stray one of the same name in an environment would hide a mere folder."""
