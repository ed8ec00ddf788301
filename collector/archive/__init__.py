"""The archive: every event as a row of Parquet, for past traffic and past instants."""
