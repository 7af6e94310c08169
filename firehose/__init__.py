"""Delivery streams: records from a stream or a direct put, buffered, transformed, in files, each exactly once."""

from firehose.service import Firehose

__all__ = ["Firehose"]
