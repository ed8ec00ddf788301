"""Demo: a small shop on an origin of its own that uses the collector as any website would, and shows what happens.

Nothing here is imported from the rest of the product, and nothing of the collector is reached but over HTTP.
"""
