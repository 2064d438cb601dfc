"""A landing that tells too much, and stages that fail with secrets in what they say."""
