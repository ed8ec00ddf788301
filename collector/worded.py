"""Worded: an error whose text has places for its values, so that the dashboard can say it in another language."""


class Worded(Exception):
    """`text` is English, with places such as %(most)s for the `values`; the error itself reads with them filled in."""

    def __init__(self, text: str, **values: object) -> None:
        self.text = text
        self.values = values
        self.message = text % values if values else text
        super().__init__(self.message)
