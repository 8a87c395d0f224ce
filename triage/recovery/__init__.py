"""What was journaled, back into the index: after a loss, and of gateways that are gone."""
