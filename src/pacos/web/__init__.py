"""What the web apps share: page frame, safe Markdown, request guards, people, limits, errors, server."""
