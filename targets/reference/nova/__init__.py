"""Compute service (Nova): api, conductor, scheduler, and per host a compute and a hypervisor.

How a server comes and goes, and why nothing is lost or left over
----------------------------------------------------------------
A server is first a *build request* and an *instance mapping* without a cell (API database), then a
row in a cell's database. The row is what everything else hangs on. Four rules hold throughout:

1. **The record goes last.** Whoever deletes marks the record first (``task_state`` *deleting*, by
   one statement), gives back what hangs on it, and removes it in the end. A crash on the way leaves
   a marked record, which a second delete, or a restart, finishes.
2. **One statement decides.** Removing a build request, deciding a cell, claiming an instance for a
   host and marking it are conditional statements. Their row count tells who owns the rest of the
   work: a claim fails on a marked instance, and a mark tells whether a host had claimed it before.
   There are any number of APIs and conductors, so no lock in one of them protects anything.
3. **Who makes something looks again.** The conductor looks at the build request after each thing it
   made, and gives everything back when a delete was faster. A compute makes things only for an
   instance that it has claimed, under that instance's lock; the delete waits for the lock.
4. **Everything can be done twice.** Giving back asks by instance id, and "not found" is success.

Intent is written down before it is carried out (a build request, ``queued_for_delete``, a task
state, a block device's state), so each service resumes at start-up what it finds begun.
"""
