"""Readers of rows, one module a file format, each with the same functions.

- `names(file)`: the columns the file has, as far as its beginning tells.
- `read(file, columns)`: the wanted columns at full speed, or None where only `scan` can tell.
- `scan(file, columns, faults)`: the same row by row, naming the line of what is wrong.
- `line_of(file, row)`: the line of a row (from 0), or None where rows have no lines.

Called by `inspect.readers`.
"""
