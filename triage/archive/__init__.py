"""What becomes of the journal: Parquet, merged, purged, kept."""
