"""The two models of JMLR: the language model that reads and judges, and the retriever."""
