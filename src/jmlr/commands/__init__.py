"""What people run that is no stage: a command may import everything but the workflow, and nothing imports it."""
