"""Kinesis Data Analytics' API for SQL applications: what exists, as AWS says it, and the applications behind it at work."""
