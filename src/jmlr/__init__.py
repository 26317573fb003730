"""JMLR: joint training of a medical LLM and its retriever (arXiv 2402.17887), from raw text to a table of systems.

Importing this package loads no heavy library; import the part that is needed, e.g. `from jmlr.topk import Index`.
"""

__version__ = "0.1.0"
