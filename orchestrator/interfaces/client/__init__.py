"""The typed client of the API; light to import, pleasant in a notebook."""
