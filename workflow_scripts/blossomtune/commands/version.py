"""Print the versions of this package and of those that it trains with."""

from blossomtune.cli import build_parser


def main() -> None:
    """Print one line per package."""
    build_parser(__doc__, has_config=False).parse_args()
    from blossomtune.package_versions import get_package_versions
    from blossomtune.version import __version__

    print(f"blossomtune {__version__}")
    for name, version in get_package_versions().items():
        print(f"{name} {version}")
