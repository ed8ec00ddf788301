"""Database: DuckDB in memory, which asks nothing of the network."""

import duckdb


def connect(**settings: str) -> duckdb.DuckDBPyConnection:
    """An empty database with these settings of DuckDB's."""
    return duckdb.connect(config={"autoinstall_known_extensions": "false", **settings})
