"""Tools for people: explain, diff, verify. They use both sides."""
