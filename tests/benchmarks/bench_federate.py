"""One round of the default experiment; reference: a bare PyTorch and PEFT loop."""

import os
import tempfile
from pathlib import Path

from default_experiment import build_outputs, prepare_default, to_options
from measurement import SCRIPTS, Measurement, time_program

from blossomtune.federation.build_spec import build_spec
from blossomtune.federation.paths import ServerPaths
from blossomtune.federation.run import FederatedRun
from blossomtune.files import to_canonical_json


def federate() -> Measurement:
    """Measure ten steps of eight rows per client, set-up included.

    Set-up weighs more in one round than in a whole run. Neither side evaluates.
    """
    config, inputs = prepare_default()
    config["federation"] |= {"rounds": 1, "evaluate_rows": 0}
    config["training"]["arguments"] |= {"per_device_train_batch_size": 8, "max_steps": 10}
    with tempfile.TemporaryDirectory() as folder:
        outputs = build_outputs(Path(folder))
        options = [*to_options(inputs | outputs), "--cores", os.cpu_count(), "--logs", folder]
        step = [SCRIPTS / "federate.py", "--config", to_canonical_json(config), *options]
        ours = time_program(*step)
        run_file = Path(folder) / "run.json"
        spec = build_spec(config, **inputs)
        del inputs["partition"]
        FederatedRun(spec=spec, paths=ServerPaths(**inputs, **outputs)).save(run_file)
        reference = time_program(Path(__file__).with_name("reference_loop.py"), run_file)
    name = "federate / bare PyTorch+PEFT loop, one round"
    return Measurement(name, ours, reference, "s", target=1.1)
