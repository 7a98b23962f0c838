"""The orchestrator: pure decisions over columns, driven alike by the twin and the live grid."""
