"""The version of what a search returns: stages that search are digested with it, and not with the extension's source.

By contract (docs/topk.md) every kernel, storage and device gives the same bits, so a faster kernel makes no search run again;
tests hold kernels to that.
"""

# Raised when the ids or scores of any search become others: tests/unit/topk/test_contract_version.py tells.
CONTRACT = 1
