"""Pairwise comparison of two systems' answers by a language model: the rubric, the prompt, the verdict.

Here: what the stage `judge` asks and how it reads the reply; the passages' losses are in `inference`.
May import: runtime.
"""
