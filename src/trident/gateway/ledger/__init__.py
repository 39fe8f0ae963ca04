"""What every request took and cost, as rows in SQL; what people thought of the answers; and the reports of both.

A row is on disk (`spool.py`) before its request is answered to the end, and in the database soon after, whatever the
database does meanwhile.
"""
