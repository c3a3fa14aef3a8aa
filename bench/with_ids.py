"""Run a load driver with given job ids: ``with_ids.py FILE DRIVER ARGS…``.

With ``--create none`` the driver makes up ids by ``uuid.uuid4``; ours have to exist, and an
identical request would be folded into one job, so they are made beforehand and handed in here.
"""

import runpy
import sys
import uuid
from pathlib import Path

_, listed, driver, *arguments = sys.argv
ids = iter(Path(listed).read_text().split())
uuid.uuid4 = lambda: next(ids)  # type: ignore[assignment,return-value]
sys.path.insert(0, str(Path(driver).parent))
sys.argv = [driver, *arguments]
runpy.run_path(driver, run_name="__main__")
