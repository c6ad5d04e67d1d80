"""Container images: what each holds, and how they are built."""
