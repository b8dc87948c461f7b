# ruff: noqa: E402, F401 - to be there is all that imports are for
"""All that SuperNodes and trainers import, for a process that they are forked from.

Loading takes seconds and 400 MB; a fork takes milliseconds, and shares what is loaded. So many
SuperNodes fit on one machine. None of it starts CUDA, which does not outlive a fork.
"""

import gc

from blossomtune.cli import setup_logging

setup_logging()  # first: libraries warn when they are imported

import flwr.supernode.runtime.run_clientapp
import transformers.models.llama.modeling_llama

import blossomtune.deployment.flower_tasks
import blossomtune.deployment.supernode
import blossomtune.federation.client.client_app
import blossomtune.federation.client.train
import blossomtune.privacy.clipping

gc.collect()
gc.freeze()  # else a collection in a fork would write to all that it shares
