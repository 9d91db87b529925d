"""Real kills: a real Airflow and the emulator, whose tasks are killed, paused, timed out and cleared at random moments."""
