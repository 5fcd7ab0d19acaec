"""The tables, their schemas and their history: the only code that touches disk or an object store."""
