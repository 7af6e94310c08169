"""Lambda's API: functions that callers create, change, call and delete."""

from connectors.functions.api.service import Lambda

__all__ = ["Lambda"]
