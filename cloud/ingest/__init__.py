"""Writing: InfluxDB line protocol in, typed columns out to the store."""
