"""Which index a gallery is searched with: candidates, measured, one chosen, and what is known of it."""
