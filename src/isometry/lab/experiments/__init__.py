"""The experiments: a file each, which enters it into the table."""
