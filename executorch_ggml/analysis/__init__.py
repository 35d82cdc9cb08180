"""Tools for people: explain, diff, verify. They meet both halves."""
