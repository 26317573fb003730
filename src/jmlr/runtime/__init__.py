"""What every stage needs and no library of the field provides: seeds, files, manifests, progress, devices, code digests, citations."""
