"""Pairwise comparison of two systems' answers by a language model: the rubric, the prompt, the verdict."""
