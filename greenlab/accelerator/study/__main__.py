"""Run the study and write its tables: ``python -m greenlab.accelerator.study``."""

from greenlab.accelerator.study import main

if __name__ == "__main__":
    main()
