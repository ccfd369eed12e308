"""Search embeddings by exact cosine similarity."""
