"""Run the chapter's study and write its tables: ``python -m greenlab.distillation.study``."""

from greenlab.distillation.study import main

if __name__ == "__main__":
    main()
