"""The one exception that speaks to the person at the terminal."""


class UserError(Exception):
    """A mistake in the data, the configuration or the command; printed as one line, without a traceback.

    The message says what was wrong, the value, what is allowed, and which file, line, key or argument.
    """
