"""The cheapest sites and accelerators that carry a demand: exactly where small, fast elsewhere."""
