"""Where data lie: the store (SQL), its journals and one writer, the lake (Delta) and the engine that reads it."""
