"""``python -m tests.load --kernels 2``: how much memory a class takes on this machine."""

import sys

from greenlab.classroom.study import main

sys.exit(main(sys.argv[1:]))
