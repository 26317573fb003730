"""The stages: one module and one public function for each rule of the workflow.

Here: inputs and outputs of a stage, and the order of its work; how it is done stands in the rooms below.
May import: all rooms but commands; no stage imports another.
"""
