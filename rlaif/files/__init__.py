"""Rows in and out: sources, stores, shards, manifests, preference datasets."""
