"""The fabric: how control plane, gateways and sites hear from one another, by HTTP or by NATS."""
