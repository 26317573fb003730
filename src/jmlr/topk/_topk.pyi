import numpy as np

class Scanner:
    def __init__(
        self,
        storage: str,
        vectors: np.ndarray,
        codes: np.ndarray | None,
        scale: np.ndarray | None,
        residual: np.ndarray | None,
        norm: np.ndarray,
        ids: np.ndarray | None,
        max_norm: float | None,
    ) -> None: ...
    def search(
        self,
        queries: np.ndarray,
        k: int,
        threads: int,
        isa: str,
        selection: RowSelection | None = None,
        largest: bool = True,
    ) -> tuple[np.ndarray, np.ndarray, int, int]: ...
    def range_search(
        self,
        queries: np.ndarray,
        thresholds: np.ndarray,
        threads: int,
        isa: str,
        selection: RowSelection | None,
        largest: bool,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, int]: ...

class MaxSimScanner:
    def __init__(
        self,
        storage: str,
        dim: int,
        tokens: np.ndarray | None,
        codes: np.ndarray | None,
        scale: np.ndarray | None,
        residual: np.ndarray | None,
        norm: np.ndarray | None,
        offsets: np.ndarray,
        ids: np.ndarray | None,
    ) -> None: ...
    def search(
        self,
        query_tokens: np.ndarray,
        starts: np.ndarray,
        k: int,
        threads: int,
        isa: str,
        selection: RowSelection | None = None,
    ) -> tuple[np.ndarray, np.ndarray, int, int]: ...

class RowSelection:
    def __init__(
        self,
        rows: int,
        queries: int,
        shared: np.ndarray | None,
        by_query: np.ndarray | None,
        listed: np.ndarray | None,
        starts: np.ndarray | None,
        only_listed: bool,
    ) -> None: ...

class DefaultFloatingPoint:
    def __init__(self) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...

def on_line(rows: int, stride: int) -> np.ndarray: ...
def encode(
    storage: str, vectors: np.ndarray, threads: int
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None, np.ndarray]: ...
def first_nonfinite(rows: np.ndarray, threads: int) -> tuple[int, int] | None: ...
def normalise(rows: np.ndarray, threads: int) -> None: ...
def checksum(bytes: np.ndarray) -> int: ...
def available_isas() -> list[str]: ...
def kernel_names(isa: str) -> list[str]: ...
