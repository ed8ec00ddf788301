"""Query: the only read path. The API, the command line and the dashboard all ask here."""
