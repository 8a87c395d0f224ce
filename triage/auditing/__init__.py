"""Carries the promise out: weighs readings, suspends classes, recalls answers."""
