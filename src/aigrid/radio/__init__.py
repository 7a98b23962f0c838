"""5G NR uplink: the front-end that every tower computes before anything else."""
