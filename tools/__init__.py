"""Tools for the maintainers: checks of make lint, of wheels, and the hooks of the documentation."""
