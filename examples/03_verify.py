"""How results come to be believed: the mode of a job, what it costs, and how far it can be trusted.

On a grid of one machine there is nobody to lie.  Where devices have different owners, ``audit`` (the default) checks a
secret share of the results on somebody else's device, and ``quorum`` has every task done by several.
"""

import corpgrid


def triangle(number: int) -> int:
    return number * (number + 1) // 2


def main() -> None:
    careful = corpgrid.VerifyPolicy(mode=corpgrid.VerifyMode.AUDIT, eps=1e-6)
    with corpgrid.connect() as grid:
        for verify in ("none", "trusted", "audit", careful):
            job = grid.map(triangle, range(1_000), verify=verify)
            assert sum(job) == sum(map(triangle, range(1_000)))
            report = job.report()
            print(f"{report.mode:<8} {report.executions_per_task:.2f} executions a task: {report.standing}")


if __name__ == "__main__":
    main()
