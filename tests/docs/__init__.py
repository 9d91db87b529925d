"""The documentation is true: its code runs, its tables are made of the code, its links lead somewhere."""
