"""What the scenarios share: a server of their own, HTTP and SSE clients that trust nothing, unitops."""
