"""Airflow's own UI, used as a user uses it, in a headless Chromium."""
