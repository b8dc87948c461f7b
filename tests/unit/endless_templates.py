"""Templates that take more time or memory than there is."""

NESTED_LOOPS = (
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}{{ text }}"
)

TOO_LARGE = {
    "repeated text": "{{ text * 4 * 10 ** 9 }}",
    "constant": "{{ 'a' * 4 * 10 ** 9 }}",
    "list": "{{ (range(99999) | list * 99999) | length }}",
    "padding": "{{ text | center(10 ** 10) }}",
    "doubling": "{% set ns = namespace(s=text) %}{% for _ in range(99) %}"
    "{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
}
"""Templates that need too much memory, each by another way."""

UNINTERRUPTIBLE = (
    "{% set ns = namespace(a=[0], b=[0]) %}{% for _ in range(60) %}"
    "{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ ns.a == ns.b }}"
)
"""A template whose comparison is one operation of 2 to the power of 60 steps."""
