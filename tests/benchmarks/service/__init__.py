"""Measures of the service: its gateway, its journal, its queue, and its recovery."""
