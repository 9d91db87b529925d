"""A real Airflow beside the emulator: what `make demo` and `make ui` run, and the tests of whole DAGs."""
