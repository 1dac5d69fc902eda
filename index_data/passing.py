"""What passes a filter, kept for as long as nothing changes: of a million items a filter takes seconds to evaluate."""

import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from index_data.filters import Filter
from index_data.generations import Ids
from index_data.segments import Segments

MOST_BYTES = 64 << 20  # of the ids and bits of all filters that are kept
MOST_FILTERS = 64


@dataclass
class _Kept:
    ids: Ids
    segments: Segments | None = None  # what is searched where only these are looked at

    @property
    def bytes(self) -> int:
        bits = (self.segments.rows // 8) if self.segments is not None else 0
        return self.ids.nbytes + bits


class PassingItems:
    """The filters that were asked last and what passes them, of one moment of a gallery. Usable from many threads."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._kept: OrderedDict[str, _Kept] = OrderedDict()  # the one that was asked last at the end
        self._lock = threading.Lock()

    def ids(self, asked: Filter, evaluate: Callable[[], Ids], state: str = "") -> Ids:
        """Ids of the items that pass a filter, rising; evaluated where it is not known, in this state of the fields."""
        key = json.dumps([asked, state], sort_keys=True)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key].ids
        ids = evaluate()  # two that ask at once both do it
        ids.flags.writeable = False
        with self._lock:
            self._kept[key] = _Kept(ids)
            self._forget_some()
        return ids

    def segments(self, segments: Segments, ids: Ids) -> Segments:
        """What is searched where only some items are looked at; kept where `ids` gave them."""
        with self._lock:
            kept = next((each for each in self._kept.values() if each.ids is ids), None)
            if kept is not None and kept.segments is not None:
                return kept.segments
        chosen = segments.among(ids)
        if kept is not None:
            with self._lock:
                kept.segments = chosen
                self._forget_some()
        return chosen

    def _forget_some(self) -> None:
        while len(self._kept) > MOST_FILTERS or sum(each.bytes for each in self._kept.values()) > MOST_BYTES:
            if len(self._kept) == 1:
                return  # however large: it is in use
            self._kept.popitem(last=False)
