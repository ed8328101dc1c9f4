"""``python -m necrocode``."""

from necrocode.cli import main

if __name__ == "__main__":
    main()
