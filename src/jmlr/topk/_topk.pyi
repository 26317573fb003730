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
        self, queries: np.ndarray, k: int, threads: int, isa: str
    ) -> tuple[np.ndarray, np.ndarray, int, int]: ...

class MaxSimScanner:
    def __init__(
        self,
        storage: str,
        tokens: np.ndarray,
        codes: np.ndarray | None,
        scale: np.ndarray | None,
        residual: np.ndarray | None,
        norm: np.ndarray | None,
        offsets: np.ndarray,
        ids: np.ndarray | None,
    ) -> None: ...
    def search(
        self, query_tokens: np.ndarray, starts: np.ndarray, k: int, threads: int, isa: str
    ) -> tuple[np.ndarray, np.ndarray, int, int]: ...

class DefaultFloatingPoint:
    def __init__(self) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...

def encode(
    storage: str, vectors: np.ndarray, threads: int
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None, np.ndarray]: ...
def first_nonfinite(rows: np.ndarray, threads: int) -> tuple[int, int] | None: ...
def checksum(bytes: np.ndarray) -> int: ...
def available_isas() -> list[str]: ...
def kernel_names(isa: str) -> list[str]: ...
