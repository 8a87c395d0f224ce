"""What becomes of the journal: Parquet, an index made anew."""
