"""The core of the suite on every version of Airflow that is supported: `python -m tests.matrix [--only 2.11 3.3 ...]`."""
