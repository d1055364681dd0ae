"""Takes jobs from the store, has them trained in a process of their own, and puts away the result.

Knows: leases, processes, the job folder's files.
Does not know: HTTP, SQL, torch, what training does.
"""
