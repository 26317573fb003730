MAX_K: int

class DeviceRows:
    def __init__(
        self, device: int, storage: str, rows: int, dim: int, columns: dict[str, int], first_id: int
    ) -> None: ...
    def encode(self, bad: int, stream: int) -> None: ...
    def workspace_bytes(self, count: int, k: int) -> int: ...
    def search(
        self,
        queries: int,
        count: int,
        k: int,
        scores: int,
        ids: int,
        overflow: int,
        bad: int,
        workspace: int,
        stream: int,
    ) -> None: ...
    def search_exactly(
        self, queries: int, which: int, count: int, k: int, scores: int, ids: int, workspace: int, stream: int
    ) -> None: ...

class PassageCall:
    def __init__(
        self,
        tokens: int,
        slot_count: int,
        slots: int,
        groups: int,
        group_count: int,
        count: int,
        k: int,
        reach: int,
        scores: int,
        ids: int,
        overflow: int,
        bad: int,
        workspace: int,
    ) -> None: ...

class DevicePassages:
    def __init__(self, rows: DeviceRows, columns: dict[str, int], count: int, chunk: bytes) -> None: ...
    def bound(self, stream: int) -> None: ...
    def batch(self, k: int) -> int: ...
    def workspace_bytes(self, slots: int, count: int, k: int) -> int: ...
    def search(self, call: PassageCall, stream: int) -> None: ...
    def search_exactly(self, call: PassageCall, which: int, count: int, stream: int) -> None: ...

def passage_layout(offsets: int, count: int) -> tuple[bytes, bytes, int]: ...
def query_layout(lengths: int, count: int, storage: str) -> tuple[bytes, bytes, int]: ...
def why_not() -> str | None: ...
def sizes(storage: str, rows: int, dim: int) -> tuple[int, int, int]: ...
def merge_bytes(count: int, k: int) -> int: ...
def merge(
    device: int,
    scores: int,
    ids: int,
    count: int,
    width: int,
    k: int,
    out_scores: int,
    out_ids: int,
    workspace: int,
    stream: int,
) -> None: ...
