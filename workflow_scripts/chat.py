"""Chat with the base model and the federated model of an experiment, one after the other."""

import sys
from contextlib import ExitStack, closing
from pathlib import Path

from blossomtune.chat.experiment import find_experiment, read_configuration
from blossomtune.cli import build_parser, run_script

CHECKOUT = Path(__file__).resolve().parents[1]
CONFIG_FILE = Path("config/config.yaml")


def main() -> None:
    """Find the experiment, load the models and answer the lines of standard input."""
    parser = build_parser(__doc__, has_config=False)
    parser.add_argument("--experiment", metavar="NAME", help="default: the only finished one")
    parser.add_argument("--configfile", type=Path, nargs="+", default=[], metavar="FILE")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--system", metavar="TEXT", help="replaces the experiment's system turn")
    parser.add_argument(
        "--row",
        action="store_true",
        help="write each line into the experiment's prompt, in the place of its column",
    )
    parser.add_argument(
        "--max-new-tokens",
        type=int,
        metavar="N",
        help="default: evaluation.generation.max_new_tokens of the experiment",
    )
    args = parser.parse_args()

    default = CONFIG_FILE if CONFIG_FILE.exists() else CHECKOUT / CONFIG_FILE
    configuration = read_configuration(default, args.configfile)
    experiment = find_experiment(configuration, args.results, args.experiment)

    from blossomtune.chat.prompts import PromptEncoder, RowPrompt
    from blossomtune.chat.session import HELP, chat, read_turns
    from blossomtune.data.parallel import Worker
    from blossomtune.modeling.chat_template import ChatTemplate
    from blossomtune.modeling.tokenizer import load_tokenizer

    use = experiment.manifest.chat_template
    tokenizer = load_tokenizer(experiment.model)
    template = ChatTemplate(tokenizer, use.arguments, use.control_tokens == "text")
    encoder = PromptEncoder(template, experiment.preprocessing, experiment.manifest, args.system)
    turns = read_turns()
    row_prompt = RowPrompt(experiment.manifest) if args.row else None
    if encoder.has_row_system:
        print("the rows have system turns of their own; --system TEXT sets one", file=sys.stderr)

    from blossomtune.chat.models import MODEL_NAMES, ChatModels

    max_new_tokens = args.max_new_tokens or experiment.settings.evaluation.generation.max_new_tokens
    models = ChatModels(experiment, template, max_new_tokens)
    with ExitStack() as workers:
        if row_prompt:
            rows = workers.enter_context(closing(Worker(row_prompt.render)))
            turns = (t if t.startswith("/") else rows.call(t) for t in turns)
        prompts = workers.enter_context(closing(Worker(encoder.encode)))
        print(HELP, file=sys.stderr, flush=True)
        chat(turns, MODEL_NAMES, prompts.call, models)


if __name__ == "__main__":
    try:
        run_script(main)
    except KeyboardInterrupt:
        sys.exit(130)
