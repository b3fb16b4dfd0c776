"""Files in, files out, and what a task printed."""

import tempfile
from pathlib import Path

import corpgrid


def count(word: str) -> int:
    """Reads an input that every task has, and leaves a file in its working folder."""
    lines = Path("/in/poem.txt").read_text(encoding="utf-8").splitlines()
    found = [line for line in lines if word in line]
    print(f"{word!r} stands in {len(found)} of {len(lines)} lines")
    Path("lines").mkdir()
    Path("lines", f"{word}.txt").write_text("\n".join(found), encoding="utf-8")
    return len(found)


def main() -> None:
    with tempfile.TemporaryDirectory() as name, corpgrid.connect() as grid:
        folder = Path(name)
        poem = folder / "poem.txt"
        poem.write_text(
            "One grid for all,\nidle by night;\nlent by the hour,\nreturned at first light.\n", encoding="utf-8"
        )
        job = grid.map(count, ["by", "light", "grid"], inputs={"poem.txt": poem})
        for done in job.as_completed():
            (saved,) = job.save_outputs(done, folder / str(done.index))
            print(f"{saved.name}: {saved.read_text(encoding='utf-8')!r}")
        for attempt in job.logs(0):
            print(attempt.log.decode(), end="")


if __name__ == "__main__":
    main()
