"""The compiled readers of OPC UA Binary."""
