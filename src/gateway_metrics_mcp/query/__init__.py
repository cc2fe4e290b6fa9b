"""What can be asked of a backend, and what comes back."""
