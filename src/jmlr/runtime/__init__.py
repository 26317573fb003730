"""What every stage needs and no library of the field provides: seeds, files, manifests, progress, devices, code digests.

Here: nothing that knows of questions, passages or models.
May import: nothing of the package.
"""
