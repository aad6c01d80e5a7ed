"""Watches a user's own training: records it, judges it, and saves it from numbers that are not finite."""
