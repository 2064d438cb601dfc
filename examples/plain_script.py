"""The whole pipeline without an orchestrator: the same stages, the same bytes as the Dagster graph.

python examples/plain_script.py [SLEEVE]
"""

import os
import sys

from quant_core.graph.runner import DAGRunner
from quant_core.market.sleeves import find_sleeve
from quant_core.settings import Settings


def main(sleeve: str = "us_equities") -> None:
    """Run `sleeve` and print the hash of every table it committed."""
    settings = Settings.from_environment(os.environ)
    result = DAGRunner(settings).run(find_sleeve(sleeve, settings.sleeves), environ=os.environ)
    for stage, ref in result.refs.items():
        print(f"{ref.sha256[:16]}  {ref.rows:>9}  {stage}")
    print(f"run {result.run_id}: {result.home / 'reports' / sleeve / 'tear_sheet.html'}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
