"""`python tests/fuzz N [--seed S]`: figures of N cases. `python tests/fuzz KIND/NUMBER`: one case, with its traceback."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from fuzz.campaign import figures, kinds, run_cases  # noqa: E402
from fuzz.children import new_case  # noqa: E402

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", help="how many cases, of all kinds together; or one case, such as images/17")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", help="only this kind; may be repeated")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="segearth-fuzz-") as folder:
        name, slash, number = args.what.partition("/")
        if slash:
            (kind,) = kinds(Path(folder), [name])
            case = new_case(kind, int(number), args.seed, Path(folder))
            kind.prepare(case)()
            print("accepted")
            sys.exit()
        chosen = kinds(Path(folder), args.kind)
        outcomes = run_cases(chosen, int(args.what), args.seed, Path(folder), tell=print)
    print(figures(outcomes))
    sys.exit(any(one.is_finding for one in outcomes))
