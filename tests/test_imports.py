"""What `import jaxcal` does: no more than needed, and nothing to the process."""

import subprocess
import sys

PROGRAM = """
import gc, sys
import jaxcal
print(gc.isenabled(), sorted({"optax", "matplotlib", "rich", "ray", "websockets"} & set(sys.modules)))
gc.disable()
from jaxcal.compilation.garbage import collection_paused
with collection_paused():
    pass
print(gc.isenabled())
"""


def test_an_import_leaves_out_what_a_fit_does_not_need_and_the_collector_as_it_was() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["True []", "False"]
