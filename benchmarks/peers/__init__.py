"""Services that people would run instead of ours, each as its framework's documentation has it."""
