"""What events say about a person: features, audiences, recommendations."""
