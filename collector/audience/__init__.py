"""Audiences: rules, and the columns that answer them."""
