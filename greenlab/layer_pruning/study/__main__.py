"""Run the chapter's study and write its tables: ``python -m greenlab.layer_pruning.study``."""

from greenlab.layer_pruning.study import main

if __name__ == "__main__":
    main()
