"""Run one of llama.cpp's converters, in a process whose ``gguf`` is the converter's own.

The converter recognises the pre-tokenizers of models by a hash of token ids, which depend on the
vocabulary. For models that it does not know, the name follows from tokenizer.json instead.
Usage: run_converter.py SCRIPT.py ARGUMENTS...
"""

import runpy
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Run the script with its folder in place of this one's, which has modules of ours."""
    script = Path(sys.argv[1])
    library = str(Path(__file__).parents[2])
    sys.path[0] = str(script.parent)
    sys.path.insert(1, str(script.parent / "gguf-py"))
    sys.path.append(library)

    from conversion import TextModel

    find_by_hash = TextModel.get_vocab_base_pre

    def find_name(model: Any, tokenizer: Any) -> str:
        try:
            name: str = find_by_hash(model, tokenizer)
        except NotImplementedError:
            from blossomtune.data.gguf_tokenizer import find_pre_tokenizer_name

            name = find_pre_tokenizer_name(tokenizer.backend_tokenizer)
        return name

    TextModel.get_vocab_base_pre = find_name
    from blossomtune.errors import UserError

    sys.argv = sys.argv[1:]
    try:
        runpy.run_path(str(script), run_name="__main__")
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
