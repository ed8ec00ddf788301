"""Streams of events: partitions, append, read, trim."""
