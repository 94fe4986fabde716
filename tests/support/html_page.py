"""What tests look at of an HTML page."""

import html.parser

_LOADING = ("src", "srcset", "data", "poster", "action", "background")


class Page(html.parser.HTMLParser):
    """What a browser would load, the text by section, and the elements."""

    def __init__(self, text: str):
        super().__init__()
        self.loaded: list[str] = []
        self.tags: set[str] = set()
        self.text: dict[str, str] = {}
        self._section = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.add(tag)
        if tag == "section":
            self._section = attributes["id"]
        self.loaded += [attributes[name] for name in _LOADING if name in attributes]
        if "href" in attributes and (tag != "a" or not attributes["href"].startswith("#")):
            self.loaded.append(attributes["href"])

    def handle_data(self, data):
        self.text[self._section] = self.text.get(self._section, "") + data
