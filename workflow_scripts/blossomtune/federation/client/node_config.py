"""Read which client a node is, and its run, from the configuration of node and run."""

from flwr.app import Context

from blossomtune.errors import UserError
from blossomtune.federation.paths import ClientPaths
from blossomtune.federation.run import FederatedRun
from blossomtune.federation.run_overrides import apply_overrides
from blossomtune.federation.spec import FederationSpec


def get_client(context: Context, spec: FederationSpec) -> int:
    """Return the number of the client that a node says it is.

    Args:
        context: Context of the node, whose configuration has ``partition-id`` or ``client``.
        spec: What is trained.

    Returns:
        The client's number.

    Raises:
        UserError: If the configuration names no client of the federation.
    """
    config = context.node_config
    if "partition-id" in config:
        return int(config["partition-id"])
    name, names = config.get("client"), [client.name for client in spec.clients]
    if name not in names:
        problem = f"says client={name!r}" if "client" in config else "says neither"
        raise UserError(
            '--node-config needs partition-id=<number> or client="<name>" of a client, and this '
            f"node {problem}",
            f"clients: {', '.join(names)}",
        )
    return names.index(str(name))


def load_node_run(context: Context) -> FederatedRun:
    """Load the run of a node: its own one, or the one that the run's configuration has.

    Args:
        context: Context of the node.

    Returns:
        The run, with the node's own paths where it names some. It is without the server's secrets
        where the submitting process gave one for clients.

    Raises:
        UserError: If the run cannot be read, an override is not allowed, or model or rows of the
            node are not those of the run.
    """
    config, node = context.run_config, context.node_config
    source = str(node.get("run") or config.get("client-run") or config["run"])
    try:
        is_json = source.startswith("{")
        run = FederatedRun.model_validate_json(source) if is_json else FederatedRun.load(source)
    except OSError as error:
        raise UserError(
            f"this node cannot read the run {source}: {error.strerror}",
            "share the file system of the server, or name a run file of the node with "
            "--node-config 'run=\"<path>\"'",
        ) from None
    run = apply_overrides(run, config, with_paths="run" not in node)
    own_paths = {f"paths.{key}": node[key] for key in ClientPaths.model_fields if key in node}
    return apply_overrides(run, own_paths)
