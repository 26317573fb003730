"""A finished run that answers: a row of it opened once and asked many times, and the page and API over it.

`row` reads what a row is, `finder` and `system` open it and answer in batches, `batching` gathers what waits; `api` and `pages`
speak HTTP and know nothing of models.

Here: whatever answers from a finished run, at the terminal or over HTTP.
May import: corpus, endpoints, inference, models, options, report, retrieval, runtime, topk.
"""
