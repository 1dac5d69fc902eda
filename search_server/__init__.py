"""Stage 4: gallery -> page and REST API. Also the home of the `lookalike` command."""
