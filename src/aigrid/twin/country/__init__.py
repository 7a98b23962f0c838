"""A whole country as columns: its sites, its demand, and a day of it as flows."""
