"""One file a metric; `vqmeter.metric.NAMES` is the table."""
