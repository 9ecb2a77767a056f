"""The parts of the transport's contract suite; ``adapters.testkit.transport_contract`` is the suite."""
