"""``python -m archpress`` is ``archpress``."""

from archpress.cli import main

if __name__ == "__main__":
    main()
