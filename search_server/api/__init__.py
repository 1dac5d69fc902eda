"""The REST API, version 1: one module for each thing that can be asked for."""
