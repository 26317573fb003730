"""The embedded demo's world: made-up diseases, their passages, questions and reading documents. Text only; no stage knows it."""
