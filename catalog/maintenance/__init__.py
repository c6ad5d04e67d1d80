"""Keeping tables small: few files, few snapshots, nothing that nobody refers to; beside a stream that writes and readers."""
