"""Starts a runner: ``python -s -P -S -B -X utf8 /runtime/start.py /job /env /work``.

This file lies at the top of the runtime folder, beside the packages that the runner needs.  What is found first wins:
CorpGrid's runtime, then the standard library, then the job's files, then its environment; so that a job's module can
shadow a package of its environment, and nothing that runs it.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    job, environment, work = sys.argv[1:]
    runtime = os.path.dirname(__file__)  # noqa: PTH120 - importing pathlib is a quarter of a runner's start
    sys.path[:] = [runtime, *sys.path, job, environment]
    sys.argv[:] = ["corpgrid-runner"]

    from corpgrid.runner.__main__ import main

    main(job=job, work=work)
