"""What is measured while a user's own training runs."""
