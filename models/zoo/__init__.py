"""Exported models, each a graph (.onnx) with its card (.toml)."""
