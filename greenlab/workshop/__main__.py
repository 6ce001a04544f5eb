"""Write the notebooks for a class: ``python -m greenlab.workshop student``."""

import sys

from greenlab.workshop.student import main

sys.exit(main(sys.argv[1:]))
