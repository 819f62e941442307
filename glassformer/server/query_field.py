"""What several routes take in their queries: a decision of a recording."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

Position = Annotated[int | None, Query(ge=0, description="the last recorded one by default")]
TokenId = Annotated[
    int | None, Query(ge=0, description="the token written after it by default, else the likeliest")
]
Against = Annotated[str, Query(max_length=9, description="`none`, `mean`, or the id of another token")]
