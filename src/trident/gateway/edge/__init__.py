"""What stands between a socket and an endpoint: bounds, errors, headers, streams, the server and its end."""
