"""Near duplicates of 100,000 texts; reference: datasketch's MinHash and MinHashLSH alone.

As a program, ``bench_leaks.py SIDE`` prints the seconds and megabytes of one side.
"""

import json
import os
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from measurement import ROOT, Measurement

CODE = os.pathsep.join(str(ROOT / name) for name in ("workflow_scripts", "tests", "tests/unit"))
TEXTS, NEAR, CHARACTERS = 100_000, 10_000, 200


def leaks() -> Measurement:
    """Measure the time to find all pairs on one core; at most a minute."""
    ours, reference = (_measure(side)["seconds"] for side in ("ours", "datasketch"))
    name = "near duplicates / datasketch, 100,000 texts"
    return Measurement(name, ours, reference, "s", target=60 / reference)


def leaks_memory() -> Measurement:
    """Measure the peak memory of the process; at most a gigabyte."""
    ours, reference = (_measure(side)["megabytes"] for side in ("ours", "datasketch"))
    name = "near duplicates / datasketch, peak memory"
    return Measurement(name, ours, reference, "MB", target=1000 / reference)


@cache
def _measure(side: str) -> dict[str, float]:
    result = subprocess.run(
        [sys.executable, __file__, side],
        env=os.environ | {"PYTHONPATH": CODE, "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
    )
    return json.loads(result.stdout)


def _search(side: str) -> dict[str, float]:
    """Search once, and check the pairs; return seconds and megabytes."""
    import pyarrow as pa
    from peak_memory import get_peak_bytes, reset_peak
    from random_texts import change_word, draw_texts

    texts = draw_texts(TEXTS - NEAR, seed=0, length=CHARACTERS)
    texts += [change_word(text, i) for i, text in enumerate(texts[:NEAR])]
    table = pa.chunked_array([pa.array(texts, pa.large_string())])
    del texts
    reset_peak()
    start = time.perf_counter()
    pairs = {"ours": _find_near_duplicates, "datasketch": _find_with_datasketch}[side](table)
    seconds = time.perf_counter() - start
    assert pairs == {(i, TEXTS - NEAR + i) for i in range(NEAR)}
    return {"seconds": seconds, "megabytes": get_peak_bytes() / 1e6}


def _find_near_duplicates(texts: object) -> set[tuple[int, int]]:
    from blossomtune.data.leaks.near_duplicates import find_near_duplicates

    with TemporaryDirectory() as folder:
        return {(i, j) for i, j in find_near_duplicates(texts, Path(folder)).tolist()}


def _find_with_datasketch(texts: object) -> set[tuple[int, int]]:
    """Find pairs with the same bands, then compare the estimates of the same similarity."""
    from datasketch import MinHash, MinHashLSH

    from blossomtune.data.leaks import minhash, shingles

    num_permutations = minhash.NUM_BANDS * minhash.ROWS_PER_BAND
    index = MinHashLSH(num_perm=num_permutations, params=(minhash.NUM_BANDS, minhash.ROWS_PER_BAND))
    hashes = (
        (shingles.hash_shingles([text]).hashes >> np.uint64(32)).tolist()
        for chunk in shingles.iterate_chunks(texts)
        for text in chunk
    )
    signatures, pairs = [], set()
    for i, signature in enumerate(
        MinHash.generator(hashes, num_perm=num_permutations, seed=minhash.SEED, hashfunc=int)
    ):
        near = (j for j in index.query(signature) if signatures[j].jaccard(signature) > 0.6)
        pairs.update((j, i) for j in near)
        signatures.append(signature)
        index.insert(i, signature, check_duplication=False)
    return pairs


if __name__ == "__main__":
    print(json.dumps(_search(sys.argv[1])))
