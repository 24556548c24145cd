"""Many measurements: jobs from a list, a folder or a pattern, run by workers of this machine or of a cluster.

Every job is a call of `measure` in a process of its own, so that one that crashes, hangs or takes all memory fails alone.
One process, the caller's, writes the results; a run that was broken off, however that came, goes on with `resume`.

::

    jobs      what is to be measured, each with options of its own
    running   the loop: submit, collect, try again, stop
    pool      workers of this machine        cluster   those of a Dask scheduler
    worker    one job, inside a worker       remote    fetching what lies elsewhere
    journal   results, a line each, that survive what befalls the writer
"""

from __future__ import annotations

from vqmeter.batch.jobs import Job, read_jobs
from vqmeter.batch.journal import Journal
from vqmeter.batch.running import Limits, Tally, Tasks, run

__all__ = ["Job", "Journal", "Limits", "Tally", "Tasks", "read_jobs", "run"]
