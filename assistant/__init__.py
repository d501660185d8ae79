"""A company's own assistant: adapters carry style, retrieval carries facts, every answer leaves a receipt."""
