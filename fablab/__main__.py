"""`python -m fablab` is the console script."""

from fablab.cli import main

if __name__ == "__main__":
    main()
