"""The gateway's two pages, a chat at `/` and the operator's at `/operator`: files for a browser, and their routes."""
