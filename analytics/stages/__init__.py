"""The stages of a query between FROM and its select list, each one file."""
