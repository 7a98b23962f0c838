"""The store: packages as OCI artifacts, signatures, catalogue, registries."""
