"""Each guard of the submission protocol earns its place: take one away, and a named test fails.

`python -m tests.mutation` does it to copies of the package; `guards.py` lists the guards, `test_guards.py` holds a test for
each of them, which runs with all other tests too.
"""
