"""What people run that is no stage: ask, config, export, init, plan, push, review, serve, why.

Here: one module and one public function of the same name for each, and what only they share.
May import: all rooms; nothing imports a command.
"""
