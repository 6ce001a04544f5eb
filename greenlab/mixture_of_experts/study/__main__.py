"""Run the chapter's study and write its tables: ``python -m greenlab.mixture_of_experts.study``."""

from greenlab.mixture_of_experts.study import main

if __name__ == "__main__":
    main()
