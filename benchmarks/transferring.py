"""What a process of `benchmarks.transfer` does: one peer moves one folder's files to a bucket, or back.

python -m benchmarks.transferring PEER up|down FOLDER PREFIX     the place and the keys are in the environment
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

AT_ONCE = 16
"""Small files under way: what the product's own connections allow."""


def main() -> None:
    """Move them; an exception is the exit code."""
    peer, way, folder, prefix = sys.argv[1:]
    move = PEERS[peer](way == "up")
    names = os.environ["TRANSFER_FILES"].split(",")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(lambda name: move(f"{prefix}/{name}", Path(folder) / name), names):
            pass


def vrecompute(up: bool) -> Callable[[str, Path], object]:
    """The Store as runs have it: with a sha256 and a condition, verified on the way back."""
    from vrecompute.stores.address import StoreAddress
    from vrecompute.stores.s3store import S3Store

    options = {"ca": os.environ["AWS_CA_BUNDLE"]}
    place, endpoint = os.environ["TRANSFER_BUCKET"], os.environ["AWS_ENDPOINT_URL"]
    store = S3Store(StoreAddress("s3", place, endpoint, options=options))
    return store.put_file if up else store.get_file


def boto3(up: bool) -> Callable[[str, Path], object]:
    """Its TransferManager with its own settings, and as many connections as are asked for at once."""
    import boto3
    from boto3.s3.transfer import TransferConfig
    from botocore.config import Config

    config = Config(max_pool_connections=AT_ONCE * 10, s3={"addressing_style": "path"})
    client: Any = boto3.client("s3", config=config)
    bucket, settings = os.environ["TRANSFER_BUCKET"], TransferConfig()

    def move(key: str, path: Path) -> None:
        if up:
            client.upload_file(str(path), bucket, key, Config=settings)
        else:
            client.download_file(bucket, key, str(path), Config=settings)

    return move


def obstore(up: bool) -> Callable[[str, Path], object]:
    """Multipart puts from the file, and gets as a stream to the file."""
    import obstore as library
    from obstore.store import S3Store

    store = S3Store(
        os.environ["TRANSFER_BUCKET"],
        endpoint=os.environ["AWS_ENDPOINT_URL"],
        region="us-east-1",
        virtual_hosted_style_request=False,
        client_options={"root_certificate": Path(os.environ["AWS_CA_BUNDLE"]).read_text()},
    )

    def move(key: str, path: Path) -> None:
        if up:
            library.put(store, key, path)
            return
        with path.open("wb") as file:
            for piece in library.get(store, key).stream(min_chunk_size=4 << 20):
                file.write(piece)

    return move


PEERS: dict[str, Callable[[bool], Callable[[str, Path], object]]] = {
    "vrecompute": vrecompute,
    "boto3": boto3,
    "obstore": obstore,
}

if __name__ == "__main__":
    main()
