"""UMLS-F: F1 of the medical concepts of a rationale beside those of a reference (JMLR, arXiv 2402.17887; MEDCON in Yim et al. 2023).

    P = |found and reference| / |found|,  R = |found and reference| / |reference|,  F = 2 P R / (P + R)

A low value means concepts that the reference does not have, hallucinations among them, or concepts left out. What a
concept is, an extractor says (`jmlr.metrics.concepts.vocabulary`): UMLS where it is licensed, an open vocabulary by default, so
figures compare between systems of one extractor only.

    >>> umls_f({"malaria", "fever"}, {"malaria", "blood film"})
    0.5
"""

from __future__ import annotations

from collections.abc import Collection


def umls_f(found: Collection[str], reference: Collection[str]) -> float:
    """Return the F1 of two sets of concepts; 0.0 where nothing is shared. The reference must have a concept."""
    ours, theirs = set(found), set(reference)
    if not theirs:
        raise ValueError("umls_f: a reference without concepts; leave the question out")
    return 2 * len(ours & theirs) / (len(ours) + len(theirs))
