"""Write a new version of the tables: `python -m vitrina.storage.migrations "why"`."""

import sys

from vitrina.storage.migrations import write_version

if len(sys.argv) != 2:
    sys.exit('say why the tables change: python -m vitrina.storage.migrations "why"')
print(write_version(sys.argv[1]))
