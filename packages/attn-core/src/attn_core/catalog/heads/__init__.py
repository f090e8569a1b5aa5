"""Classifiers."""

from attn_core.catalog._record import Family

FAMILY = Family(
    order=8,
    title="Classifiers",
    place="Use it at the end of a network, instead of the global pooling and the classifier.",
)
