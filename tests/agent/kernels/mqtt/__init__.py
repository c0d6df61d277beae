"""The compiled readers of MQTT."""
