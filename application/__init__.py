"""The use-cases of the worker and the ports they need. Imports the domain only; reaches threads, time and chance through Runtime."""
