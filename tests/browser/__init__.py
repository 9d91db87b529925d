"""Airflow's own UI, used as a person uses it, in a headless Chromium."""
