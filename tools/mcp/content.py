"""The content of a tool's result as text."""

import json
from typing import Any

import mcp_types

MOST_TEXT = 200_000
"""The most characters of a result."""


def content_text(result: mcp_types.CallToolResult) -> str:
    """Return the texts of a result. Of images and other data, only kind and size are told."""
    texts, left = [], MOST_TEXT
    for block in result.content:
        text = _block_text(block)
        texts.append(text[:left])
        if len(text) > left:
            texts.append("[the rest of the result was too long, and was dropped]")
            break
        left -= len(text)
    if not texts and result.structured_content is not None:
        texts = [json.dumps(result.structured_content, ensure_ascii=False, indent=1)[:MOST_TEXT]]
    return "\n".join(texts)


def _block_text(block: Any) -> str:
    match block:
        case mcp_types.TextContent():
            return block.text
        case mcp_types.EmbeddedResource(resource=mcp_types.TextResourceContents() as resource):
            return resource.text
        case mcp_types.ImageContent() | mcp_types.AudioContent():
            return f"[{block.mime_type}, {len(block.data) * 3 // 4:,} bytes, not shown]"
        case mcp_types.ResourceLink():
            return f"[{block.name}: {block.uri}]"
    return f"[{type(block).__name__}, not shown]"
