"""Run a study, keep what its finished cells gave, and write its page: `python studies/study.py run|status|page NAME`.

    run NAME      run what is not committed yet, with an installed copy of the study's commit, at idle priority
    status NAME   how many cells of each sweep are there
    page NAME     write the tables and pictures of docs/NAME.md anew from the committed cells; --check: only compare

`README.md` beside this file says how the folder of a study is laid out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from study_folder import ROOT, StudyError, read_study
from study_page import page_of, written
from study_runs import installed, run


def main(words: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("run", "status", "page"))
    parser.add_argument("name", help="of a folder in studies/")
    parser.add_argument("--jobs", type=int, default=2, help="run: runs side by side, each with its share of the cores (default: 2)")
    parser.add_argument("--steps", type=int, metavar="N", help="run: only the first N steps of study.yaml")
    parser.add_argument("--data", metavar="DATA", help="run: the images of a study of SoftHebb, as `nchl softhebb` takes them")
    parser.add_argument("--work", type=Path, help="run: where the runs are made (default: runs/studies/NAME)")
    parser.add_argument("--programs", type=Path, help="run: the bin folder of an environment that has nchl at the study's commit")
    parser.add_argument("--check", action="store_true", help="page: write nothing, and fail where a table is not as the cells say")
    args = parser.parse_args(words)
    if args.steps is not None and args.steps < 1:
        parser.error(f"--steps: expected a number from 1 on, got {args.steps}")
    try:
        study = read_study(args.name)
        if args.verb == "status":
            for sweep, missing in study.missing().items():
                print(f"{sweep}: {len(missing)} missing: {', '.join(missing)}")
            return 0
        if args.verb == "run":
            work = (args.work or ROOT / "runs" / "studies" / study.name).absolute()
            work.mkdir(parents=True, exist_ok=True)
            study = replace(study, steps=study.steps[: args.steps])
            return run(study, work, args.programs or installed(study, work), args.jobs, args.data)
        page = ROOT / "docs" / f"{study.name}.md"
        before = page.read_text()
        after = written(study, before)
        if args.check:
            print("as the cells say" if after == before else f"{page} is not as the cells say: python studies/study.py page {study.name}")
            return int(after != before)
        page.write_text(after)
        if hasattr(module := page_of(study), "pictures"):
            module.pictures(study, ROOT / "docs" / "images")
        return 0
    except StudyError as error:
        print(f"study: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
