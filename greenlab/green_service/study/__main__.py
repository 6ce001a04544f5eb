"""Run the chapter's study and write its tables: ``python -m greenlab.green_service.study``."""

from greenlab.green_service.study import main

if __name__ == "__main__":
    main()
