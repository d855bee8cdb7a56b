"""Embeddings, text completions, reranking, images, audio and moderation: passed to a provider.

`endpoint` is their one entry; how they differ is in `providers.protocols.endpoint_kinds`.
"""
