from __future__ import annotations

import subprocess
import sys


def test_a_site_installs_without_the_signing_library_in_its_process() -> None:
    program = (
        "import sys, aigrid.store.install, aigrid.store.store, aigrid.store.verify_main\n"
        "print(sorted({'model_signing', 'sigstore', 'starlette', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
