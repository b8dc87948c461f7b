# ruff: noqa: E402, F401 - imported for the processes that are forked from this one
"""Import what SuperNodes and trainers use, so that forked processes share it.

Loading takes seconds and 400 MB, a fork milliseconds. None of the modules initialises CUDA, which
does not survive a fork.
"""

import gc

gc.disable()  # collections take a tenth of the time to import

from blossomtune.cli import setup_process

setup_process()  # first: libraries warn when they are imported

import transformers.models.llama.modeling_llama

import blossomtune.deployment.flower_tasks
import blossomtune.deployment.supernode
import blossomtune.federation.client.client_app
import blossomtune.federation.client.train
import blossomtune.privacy.clipping

gc.collect()
gc.freeze()  # a collection in a fork would write to shared pages
gc.enable()
