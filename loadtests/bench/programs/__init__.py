"""What runs in processes of its own beside Torii: other people's servers with a model, and onnxruntime alone.

Each file is a program by itself and imports nothing of ours, for most run in another environment than this package's.
All of them have onnxruntime use one thread within an operator.
"""
