from hypothesis import settings

# Deterministic: the same examples on every machine; no deadlines: machines are shared.
settings.register_profile("house", deadline=None, derandomize=True, database=None)
settings.load_profile("house")
