"""HTTP in, Kafka out: every event is parsed, checked against its contract, keyed and acknowledged only when it is safe."""
