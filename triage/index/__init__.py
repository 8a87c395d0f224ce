"""Redis: queue, views, outcomes and audits, folded from the journal and foldable again."""
