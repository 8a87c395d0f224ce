"""Telling what was decided: one reader of the outcome streams a gateway, for listeners and for webhooks."""
