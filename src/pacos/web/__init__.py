"""What the web apps share: page frame, safe Markdown, request guards, limits, database, server."""
