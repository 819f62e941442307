"""The page at `/llm`: built files with the right cache headers, compressed ones where they were built.

All addresses it is given are relative, since a proxy may put anything before `/llm`.
"""

from __future__ import annotations

import mimetypes
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, RedirectResponse, Response

from glassformer.server.coding import accepts_coding
from glassformer.server.error_answer import json_response
from glassformer.server.page_policy import write_policy
from glassformer.server.services import ServicesOf

router = APIRouter(include_in_schema=False)

PAGE = Path(__file__).parent.parent / "page"
# Where the page's build expects to be served.
BUILT_BASE = "/llm/"
# Vite puts a hash of the content into the names of everything under assets/.
HASHED = "assets/"
IMMUTABLE = "public, max-age=31536000, immutable"
ENCODINGS = {"br": ".br", "gzip": ".gz"}
NOT_BUILT = "The page has not been built; `make run` builds it, and released packages bring it along."

mimetypes.add_type("text/javascript", ".js")
mimetypes.add_type("font/woff2", ".woff2")
mimetypes.add_type("application/wasm", ".wasm")


@router.get("/")
async def root(services: ServicesOf) -> Response:
    prefix = services.settings.root_path
    return RedirectResponse(f"{prefix}/llm" if prefix else "llm", 307)


@router.get("/favicon.ico")
async def favicon() -> Response:
    icon = next((PAGE / name for name in ("favicon.ico", "favicon.svg") if (PAGE / name).is_file()), None)
    return FileResponse(icon) if icon else Response(status_code=204)


@router.api_route("/llm", methods=["GET", "HEAD"])
@router.api_route("/llm/{path:path}", methods=["GET", "HEAD"])
async def page(request: Request, services: ServicesOf, path: str = "") -> Response:
    """A file of the page; any other address below `/llm` is the page itself, which reads it."""
    answer = find_answer(request, path)
    host = request.headers.get("host", "")
    answer.headers["Content-Security-Policy"] = write_policy(host, services.settings.cors_origins)
    return answer


def find_answer(request: Request, path: str) -> Response:
    if not (PAGE / "index.html").is_file():
        return json_response({"error": NOT_BUILT}, 503)
    file = find_file(path)
    if file is None and path.startswith(HASHED):
        return json_response({"error": "There is nothing at this address."}, 404)
    if file is None or file.name == "index.html":
        return index(request.scope.get("raw_path", b"").decode("ascii", "replace"))
    return serve(file, request.headers.get("accept-encoding", ""))


def index(path: str) -> Response:
    """The page itself, with the addresses of its files as they are seen from `path`."""
    below = path.removeprefix(BUILT_BASE)
    here = "llm/" if below == path else "../" * below.count("/")
    text = (PAGE / "index.html").read_text(encoding="utf-8").replace(f'"{BUILT_BASE}', f'"./{here}')
    return Response(text, headers={"Cache-Control": "no-cache"}, media_type="text/html")


def find_file(path: str) -> Path | None:
    """The built file at `path`, if there is one inside the page's folder."""
    if not path or "\0" in path or any(part.startswith(".") for part in path.split("/")):
        return None
    file = (PAGE / path).resolve()
    return file if file.is_relative_to(PAGE.resolve()) and file.is_file() else None


def serve(file: Path, accepted: str) -> Response:
    """`file`, compressed if that was built and the client takes it."""
    is_hashed = file.is_relative_to(PAGE.resolve() / HASHED)
    headers = {"Cache-Control": IMMUTABLE if is_hashed else "no-cache", "Vary": "Accept-Encoding"}
    media_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    for encoding, suffix in ENCODINGS.items():
        compressed = file.with_name(file.name + suffix)
        if accepts_coding(accepted, encoding) and compressed.is_file():
            return FileResponse(
                compressed, headers={**headers, "Content-Encoding": encoding}, media_type=media_type
            )
    return FileResponse(file, headers=headers, media_type=media_type)
