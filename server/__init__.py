"""The command line, the web page, and the HTTP and WebSocket APIs."""
