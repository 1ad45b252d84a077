"""The tfserving backend: TensorFlow's own server where there is one, and an embedded one where there is not."""
