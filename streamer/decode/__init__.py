"""From cleaned data to a decision: features, model card, ONNX session, decision.

May import ring, contracts, messages; no other station.
"""
