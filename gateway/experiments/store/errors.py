"""The one way in which the store fails."""


class StoreUnavailable(Exception):
    """Nothing was saved or read; the text says which store, why, and how to mend it, without passwords and data.

    The next call tries anew. As the store may be an older or an empty one by then (restored, replaced), whoever keeps
    absolute state (cells, splits, counters, policies) has to save all of it again.
    """
