"""The embedded demo's world: made-up diseases, their passages, questions and reading documents.

Here: text and the rules that make it; no stage knows it but `fetch`.
May import: runtime.
"""
