#!/bin/sh
# Finds a Python that is new enough and lets it install the project (see install.py).
# PYTHON=/path/to/python names another one.
set -eu
cd "$(dirname "$0")/.."

for candidate in ${PYTHON:-python3 python3.11 python3.12 python3.13 python}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        exec "$candidate" scripts/install.py
    fi
done
echo "install: no Python 3.11 or newer found (tried: ${PYTHON:-python3 python3.11 python3.12 python3.13 python})." >&2
echo "install: install one, or name it: PYTHON=/path/to/python3.11 make install" >&2
exit 2
