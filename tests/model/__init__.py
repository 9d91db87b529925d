"""Every history of one task instance with few departures from the good case, on a small model of all that surrounds it."""
