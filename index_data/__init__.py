"""Stage 3: images + bundle -> gallery. Embeds images, indexes them, and keeps the index up to date."""
