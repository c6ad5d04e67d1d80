"""`python -m infra.bench.gateway.serve echo|plain PORT WORKERS`: under the server and the settings that the gateway has."""

import sys

import uvicorn


def main(name: str, port: int, workers: int) -> None:
    """Serve until SIGTERM."""
    uvicorn.run(
        f"infra.bench.gateway.{name}:app",
        host="127.0.0.1",
        port=port,
        workers=workers,
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_level="error",
        server_header=False,
        proxy_headers=False,
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
