"""`python -m vqmeter`."""

from vqmeter.cli import main

if __name__ == "__main__":
    main()
