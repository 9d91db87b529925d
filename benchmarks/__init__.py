"""What waiting and importing cost, beside what others need for the same: ``python -m benchmarks``."""
