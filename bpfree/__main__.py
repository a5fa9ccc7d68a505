"""`python -m bpfree`."""

from bpfree.cli import main

if __name__ == "__main__":
    main()
