"""A grid wider than one machine: certificates, the door by which sites come in, remote sites."""
